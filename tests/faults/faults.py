"""What can happen to a training process, done to a forked child of the harness. ``rrl`` itself has no hooks.

Each fault is a function that is called in the child before ``rrl-train`` begins. Kills strike at the n-th line of code
that is executed inside some files, so they fall inside a save, inside a write to the store, or between two bytes' worth
of logging; and since the run is deterministic, the same number strikes the same line again.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

Fault = Callable[[], None]

RRL = Path(__file__).parents[2] / "rrl"
_SAVING = [RRL / f"{name}.py" for name in ("checkpoint", "durable", "manifest", "saver")]
_LOGGING = [RRL / "tracker" / f"{name}.py" for name in ("all", "jsonl")]
INSIDE = {
    "save": _SAVING,
    "store": sorted((RRL / "replay").rglob("*.py")),
    "segments": [RRL / "replay" / f"{name}.py" for name in (
        "segments", "segment_files", "token_files", "number_files", "problem_files")],
    "log": _LOGGING,
    "resume": [RRL / "resume.py", *_SAVING, *_LOGGING],
    "step": [RRL / f"{name}.py" for name in ("learner", "loop", "ranks", "experience")],  # and what ranks exchange
    "wandb": [*(RRL / "tracker" / f"{name}.py" for name in ("wandb", "wandb_memory")), *_LOGGING, *_SAVING],
}


def lines_inside(where: str, strike: Callable[[int], None]) -> None:
    """Call ``strike(n)`` at the n-th line executed in the files of ``where``, from 1."""
    files = {str(path) for path in INSIDE[where]}
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            strike(count)
        return line

    sys.settrace(lambda frame, event, argument: line if frame.f_code.co_filename in files else None)


def at_line(where: str, number: int, strike: Fault) -> Fault:
    """Do something at the ``number``-th line that is executed in the files of ``where``."""
    return lambda: lines_inside(where, lambda count: strike() if count == number else None)


def kill_at_line(where: str, number: int) -> Fault:
    return at_line(where, number, die)


def count_lines(where: str, out: Path) -> Fault:
    """No fault: write down how many lines there are to strike at."""

    def strike(count: int) -> None:
        if count % 50 == 0:
            out.write_text(str(count))

    return lambda: lines_inside(where, strike)


def large(fault: Fault) -> Fault:
    """The same in a run whose store counts as large: it stands in many small files, which checkpoints share."""

    def both() -> None:
        from rrl.replay import number_files, segments, token_files

        for module, name, value in ((segments, "WHOLE_UP_TO", 0), (token_files, "_TOKENS", 200),
                                    (number_files, "PIECE", 10_000)):  # fmt: skip
            setattr(module, name, value)
        fault()

    return both


def none() -> None:
    """Nothing happens."""


def kill_at_call(owner: Any, name: str, number: int) -> Fault:
    """At the ``number``-th call of a function: before it does anything."""
    return lambda: _at_call(owner, name, number, lambda *_, **__: die())


def count_calls(owner: Any, name: str, out: Path) -> Fault:
    """No fault: write down how often a function is called."""

    def begin() -> None:
        original, calls = getattr(owner, name), 0

        def counted(*arguments: Any, **how: Any) -> Any:
            nonlocal calls
            calls += 1
            out.write_text(str(calls))
            return original(*arguments, **how)

        setattr(owner, name, counted)

    return begin


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# ------------------------------------------------------------------------------------------ torn and failing writes


def torn_log_line(number: int) -> Fault:
    """Half of the ``number``-th line of metrics.jsonl reaches the file, then the process is gone."""

    def tear(write: Any, handle: int, data: bytes) -> int:
        write(handle, data[: len(data) // 2])
        die()
        return 0

    return lambda: _at_call(os, "write", number, tear)


def torn_weights(number: int) -> Fault:
    """Half of the ``number``-th checkpoint's tensors reach the file."""

    return _torn("rrl.checkpoint", "save_file", number)


def torn_segment(number: int) -> Fault:
    """Half of the ``number``-th file of a large store reaches the disk."""

    return _torn("rrl.replay.segments", "write_arrays", number)


def _torn(module: str, writer: str, number: int) -> Fault:
    def tear(write: Any, *arguments: Any) -> None:
        write(*arguments)
        path = next(argument for argument in arguments if isinstance(argument, Path))
        os.truncate(path, path.stat().st_size // 2)
        die()

    return lambda: _at_call(importlib.import_module(module), writer, number, tear)


def torn_text(number: int) -> Fault:
    """Half of the ``number``-th text file that a checkpoint (or a summary) writes."""

    def tear(write_text: Any, path: Path, text: str, *rest: Any, **how: Any) -> int:
        write_text(path, text[: len(text) // 2], *rest, **how)
        die()
        return 0

    return lambda: _at_call(Path, "write_text", number, tear)


def failing(owner: Any, name: str, number: int, code: int = errno.EIO) -> Fault:
    """The ``number``-th call of a system call raises."""

    def fail(original: Any, *arguments: Any, **how: Any) -> None:
        raise OSError(code, os.strerror(code))

    return lambda: _at_call(owner, name, number, fail)


def _at_call(owner: Any, name: str, number: int, instead: Callable[..., Any]) -> None:
    original, calls = getattr(owner, name), 0

    def counted(*arguments: Any, **how: Any) -> Any:
        nonlocal calls
        calls += 1
        return instead(original, *arguments, **how) if calls == number else original(*arguments, **how)

    setattr(owner, name, counted)


# ------------------------------------------------------------------------------------------ damaged files


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 16
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "bit flipped": flip_a_bit,
    "truncated": lambda path: os.truncate(path, path.stat().st_size * 2 // 3),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": lambda path: path.unlink(),
}
