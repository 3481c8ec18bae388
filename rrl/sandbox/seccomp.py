"""The filter of system calls: what is not named here does not exist for a program.

Built as classic BPF by hand, for one process: signals may go to itself only. ``open``, ``stat``, ``execve``,
``socket``, ``kill``, ``fork`` and the rest are answered with EPERM, so whole classes of attack end here: no file by
name, no network, no other process, no child process.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

from rrl.sandbox.syscalls import AUDIT_ARCH, NUMBERS

SPECIAL = ("clone", "clone3", "fcntl", "ioctl", "tgkill", "prlimit64", "sched_getaffinity")
"""Allowed with certain arguments only."""
_OURS = ("seccomp", "capset", "landlock_create_ruleset", "landlock_restrict_self")  # called by the lock, not allowed

_LOAD, _AND, _JEQ, _JGE, _JSET, _RET = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data; the low half of an argument comes first on both machines

_X32 = 0x40000000  # x86_64's second table of calls
_CLONE_THREAD = 0x10000
_THREAD_FLAGS = 0x7D0F00  # what glibc and musl pass for a thread; no namespace, no vfork, no tracing
_FIOCLEX = (0x5450, 0x5451)  # close on exec, set and cleared
# Duplicate, descriptor flags, status flags. Not F_SETOWN and F_SETSIG: with O_ASYNC they signal any process at all.
_FCNTL = (0, 1, 2, 3, 4, 1030)


NO_PROCESS = 0xFFFFFFFF
"""A pid that nobody has: for a filter that is made once, and completed by ``for_process`` in each child."""


def for_process(filter_: bytes, pid: int) -> bytes:
    """The filter of ``NO_PROCESS`` as that of ``pid``."""
    return filter_.replace(struct.pack("=I", NO_PROCESS), struct.pack("=I", pid))


def program(machine: str, pid: int) -> bytes:
    """The filter for process ``pid`` as an array of ``struct sock_filter``."""
    numbers = NUMBERS[machine]
    code = [(_LOAD, 0, 0, _ARCH), (_JEQ, 1, 0, AUDIT_ARCH[machine]), (_RET, 0, 0, _KILL), (_LOAD, 0, 0, _NR)]
    if machine == "x86_64":
        code += [(_JGE, 0, 1, _X32), (_RET, 0, 0, _KILL)]
    for name, number in numbers.items():
        if name not in SPECIAL + _OURS:
            code += [(_JEQ, 0, 1, number), (_RET, 0, 0, _ALLOW)]
    refuse = (_RET, 0, 0, _ERRNO | errno.EPERM)
    for name, argument, allowed, otherwise in (
        ("fcntl", 1, _FCNTL, refuse),
        ("ioctl", 1, _FIOCLEX, (_RET, 0, 0, _ERRNO | errno.ENOTTY)),  # what isatty expects of a file
        ("tgkill", 0, (pid,), refuse),
        ("prlimit64", 0, (0,), refuse),  # its own limits: it can only lower them
        ("sched_getaffinity", 0, (0,), refuse),
    ):
        body = [(_LOAD, 0, 0, _ARGS + 8 * argument)]
        for value in allowed:
            body += [(_JEQ, 0, 1, value), (_RET, 0, 0, _ALLOW)]
        code += [(_JEQ, 0, len(body) + 1, numbers[name]), *body, otherwise]
    code += [(_JEQ, 0, 1, numbers["clone3"]), (_RET, 0, 0, _ERRNO | errno.ENOSYS)]  # glibc then calls clone
    thread = [
        (_LOAD, 0, 0, _ARGS), (_JSET, 0, 3, _CLONE_THREAD),
        (_AND, 0, 0, ~_THREAD_FLAGS & 0xFFFFFFFF), (_JEQ, 0, 1, 0), (_RET, 0, 0, _ALLOW),
    ]  # fmt: skip
    code += [(_JEQ, 0, len(thread), numbers["clone"]), *thread, refuse]
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def check(libc: ctypes.CDLL) -> None:
    """Raises OSError where no filter can be had."""
    get_action_avail = 2
    action = ctypes.c_uint32(_ERRNO)
    if libc.syscall(NUMBERS[platform.machine()]["seccomp"], get_action_avail, 0, ctypes.byref(action)) != 0:
        raise OSError(ctypes.get_errno(), "no seccomp: this kernel lacks the call, or its container forbids it")


def install(libc: ctypes.CDLL, filter_: bytes) -> None:
    """Puts the filter on every thread of this process; ``no_new_privs`` must be set. Raises OSError."""
    buffer = ctypes.create_string_buffer(filter_, len(filter_))
    fprog = struct.pack("@HP", len(filter_) // 8, ctypes.addressof(buffer))
    set_mode_filter, tsync = 1, 1
    if libc.syscall(NUMBERS[platform.machine()]["seccomp"], set_mode_filter, tsync, fprog) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
