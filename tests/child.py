"""Run something in a forked process that may not take more memory or time than it should: it cannot take us with it."""

from __future__ import annotations

import json
import os
import resource
import signal
import warnings
from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    """kind: "" where it returned, else the name of what it raised, or of the signal that ended it.  said: its text."""

    kind: str
    said: str


def in_child(work: Callable[[], object], *, more_bytes: int, seconds: int) -> Ended:
    """What became of ``work``; address space may grow by ``more_bytes`` over what this process has."""
    back, forth = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)   # threads of torch: the child uses none of them
        child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (_size() + more_bytes,) * 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(seconds)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            ended = Ended("", "")
            try:
                work()
            except BaseException as error:  # noqa: BLE001
                ended = Ended(type(error).__name__, str(error))
            os.write(forth, json.dumps(ended).encode()[:60_000])
        finally:
            os._exit(0)
    os.close(forth)
    with os.fdopen(back, "rb") as pipe:
        told = pipe.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return Ended(signal.Signals(os.WTERMSIG(status)).name, "")
    return Ended(*json.loads(told)) if told else Ended("silence", "")


def _size() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
