"""``--debug``: the traceback behind a one-line error, for every command; HYDRA_FULL_ERROR=1 asks for the same.

A line is an answer to a person: what was given, what was expected, what to do. What nobody foresaw (a mistake here, or
in a class of the user's own) is no answer, and shows its traceback without being asked.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

FLAG = "--debug"
VARIABLE = "RRL_DEBUG"
"""Environment variable, 1 or 0: jobs that a command starts in processes of their own go by it."""


def taken(argv: Sequence[str] | None = None) -> list[str]:
    """``argv`` (None: the command line) without the flag, which may stand anywhere in it and is remembered."""
    argv = sys.argv[1:] if argv is None else argv
    asked = os.environ.get(VARIABLE) or os.environ.get("HYDRA_FULL_ERROR")  # the latter is set by us, too: see speak
    os.environ[VARIABLE] = "1" if FLAG in argv or asked == "1" else "0"
    return [word for word in argv if word != FLAG]


def wanted() -> bool:
    """Whether tracebacks are asked for."""
    return os.environ.get(VARIABLE) == "1"


def line(program: str, error: BaseException, said: str | None = None) -> str:
    """What a command says of an error, in one line; where asked for, its traceback is written before.

    Args:
      program: as it is typed, such as rrl-train.
      said: what to say in place of the error's own text.
    """
    show(error)
    return f"{program}: {' '.join((str(error) if said is None else said).split())}"


def show(error: BaseException) -> None:
    """Write an error's traceback, where tracebacks are asked for."""
    if wanted():
        traceback.print_exception(error)


def describe(parser: argparse.ArgumentParser) -> None:
    """Name the flag in a command's help; ``taken`` has taken it away before anything is parsed."""
    parser.add_argument(FLAG, action="store_true", help="show the traceback behind an error")
