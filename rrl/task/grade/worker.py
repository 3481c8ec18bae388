"""The worker's side of ``rrl.task.grade.judge``: read a question, answer with a number, end at the deadline.

Imports neither torch nor the rest of the house: it starts as fast as its verifier does.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import resource
import signal
import struct
import sys
from types import ModuleType
from typing import Any

_REFUSED = (
    "subprocess.", "socket.", "ctypes.", "shutil.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.remove",
    "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "os.chmod", "os.chown", "os.kill",
    "os.putenv", "pty.", "signal.pthread_kill", "webbrowser.",
)  # fmt: skip


def serve(module: str, memory_mb: int) -> None:
    """Import ``module``, say so, then answer questions from stdin until it ends."""
    questions, replies = sys.stdin.buffer, os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a verifier prints is no verdict
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.dont_write_bytecode = True
    try:
        verdicts = importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - whatever an import raises is told to the parent, which stops
        _say(replies, _told(error))
        return
    _say(replies, {})
    _lock(memory_mb)
    while head := questions.read(8):
        _say(replies, _answer(verdicts, *pickle.loads(questions.read(struct.unpack("<Q", head)[0]))))


def _lock(memory_mb: int) -> None:
    """A second line behind each verifier's own checks of what it evaluates; no sandbox for programs."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event.startswith(_REFUSED):
            raise PermissionError(f"a verifier must not do this: {event}")

    sys.addaudithook(refuse)


def _answer(verdicts: ModuleType, name: str, arguments: tuple[Any, ...], timeout_s: float) -> dict[str, Any]:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever code is running
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        return {"score": float(getattr(verdicts, name)(*arguments))}
    except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001 - the parent counts and logs it
        return _told(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _told(error: BaseException) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}"}


def _say(replies: int, reply: dict[str, Any]) -> None:
    os.write(replies, json.dumps(reply).encode() + b"\n")
