"""A terminal, a pipe or a log file on the other side of a run: it may show what a model wrote, and it may go away.

Configured in the commands' YAMLs (``hydra.job_logging``) and asked for by whoever prints tables.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from rrl.visible import shown

if TYPE_CHECKING:
    from rich.console import Console


class Words(logging.Formatter):
    """Log lines that show control characters instead of sending them: an error's text may quote a model's."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


class Lines(logging.StreamHandler[Any]):
    """A handler that is silent once nobody reads its stream any more; the log file has every line."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], OSError):  # a broken pipe, or the EIO of a terminal that was closed
            let_go(self.stream)
        else:
            super().handleError(record)


def screen() -> Console:
    """A console on standard output. A pipe that is closed (``| head -1``) is an error like others, said by whoever
    prints; rich alone would end the process, and with it a run of hours."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            let_go(sys.stdout)
            raise BrokenPipeError("nobody reads standard output any more; nothing more is printed")

    return Screen()


def let_go(stream: Any) -> None:
    """Whatever is written to the stream from now on goes nowhere, without an error."""
    with contextlib.suppress(OSError, ValueError):  # it has no descriptor, or is closed: then nothing can be written
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def open_streams() -> None:
    """Give a process that was started without standard streams (``>&-``, some daemons) such that lead nowhere.

    Without them the first files that it opens get their numbers, and whatever prints writes into these files.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
