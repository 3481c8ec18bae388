"""What a program finds as it would in a new Python, though it was forked from a running one and is locked."""

from __future__ import annotations

import errno
import io
import os
import random
import resource
import stat
import sys
from typing import Any


def fresh_standard_streams() -> None:
    """stdin, stdout and stderr on the descriptors 0 to 2 as a new Python has them, on files; the same random numbers
    each time."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        raw = io.FileIO(descriptor, mode, closefd=False)
        buffer: Any = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, line_buffering=name == "stderr")
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    random.seed(0)


def replace_what_programs_ask_for() -> None:
    """Two calls that fast solutions make by habit, and that behind a lock would be errors."""
    ask = resource.setrlimit

    def setrlimit(kind: int, limits: tuple[int, int]) -> None:
        if kind != resource.RLIMIT_STACK:
            ask(kind, limits)

    resource.setrlimit = setrlimit  # a larger stack: theirs is as large as it gets
    os.fstat = _fstat  # the size of stdin: the C library asks for it by a call that also takes paths


def _fstat(fd: int) -> os.stat_result:
    """Mode and size, found without a call about files; the rest is 0."""
    try:
        here = os.lseek(fd, 0, os.SEEK_CUR)
    except OSError as error:
        if error.errno != errno.ESPIPE:
            raise
        return os.stat_result((stat.S_IFIFO | 0o600, *(0,) * 9))
    size = os.lseek(fd, 0, os.SEEK_END)
    os.lseek(fd, here, os.SEEK_SET)
    return os.stat_result((stat.S_IFREG | 0o600, 0, 0, 1, 0, 0, size, 0, 0, 0))
