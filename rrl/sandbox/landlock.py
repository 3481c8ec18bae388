"""Landlock: the kernel's own rule that a process may open nothing by path. A wall behind the filter of calls."""

from __future__ import annotations

import ctypes
import platform
import struct

from rrl.sandbox.syscalls import NUMBERS

# linux/landlock.h: rights on files by ABI, then TCP bind and connect (4), then abstract sockets and signals (6).
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}


def nothing_allowed(libc: ctypes.CDLL) -> tuple[int, int]:
    """(descriptor of a rule set that allows no path, no TCP and no signal to others; ABI). (-1, 0) without Landlock."""
    create = NUMBERS[platform.machine()]["landlock_create_ruleset"]
    version_flag = 1
    abi: int = libc.syscall(create, None, 0, version_flag)
    if abi < 1:
        return -1, 0
    attributes = struct.pack("=QQQ", _FILE_RIGHTS[min(abi, 5)], 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8  # an older kernel refuses fields that it does not know
    rules: int = libc.syscall(create, attributes, size, 0)
    return (rules, abi) if rules >= 0 else (-1, 0)


def restrict(libc: ctypes.CDLL, rules: int) -> None:
    """Binds this process to ``rules``, for good. Raises OSError."""
    if libc.syscall(NUMBERS[platform.machine()]["landlock_restrict_self"], rules, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
