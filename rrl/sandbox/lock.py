"""What a zygote gives up once, and what each of its children gives up before it runs a line of a program."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import resource
import struct
from collections.abc import Callable
from dataclasses import dataclass

from rrl.sandbox import landlock, seccomp
from rrl.sandbox.syscalls import NUMBERS

NOBODY = 65534
HIGH = 64
"""Descriptors from here on are the zygote's own; those below it are a child's."""
_MB = 1 << 20
_STACK_MB = 64  # deep recursion of programs; glibc's threads keep the size of the zygote's start
_DESCRIPTORS = 32
_ALL_DESCRIPTORS = 4096
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """cpu_s: seconds of CPU of one process, whole.  wall_s: seconds by the clock.  memory_mb: address space.
    output_kb: size of each file that it may write to, and it has only those it was given.
    tasks: processes and threads of the user; the kernel counts them by user."""

    cpu_s: int
    wall_s: float
    memory_mb: int
    output_kb: int
    tasks: int


class Lock:
    """Made once in the zygote; ``close`` is called in each child.

    Args:
      sealed: false = no Landlock and no filter of calls: limits alone, no wall.
    Raises:
      OSError: the kernel refuses a step.
    """

    def __init__(self, *, sealed: bool) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long
        self._sealed, self._machine = sealed, platform.machine()
        if sealed:
            seccomp.check(self._libc)
            self._filter = seccomp.program(self._machine, seccomp.NO_PROCESS)
        os.environ.clear()
        os.chdir("/")
        self._give_up_root()
        self._prctl(_PR_SET_NO_NEW_PRIVS, 1)
        self._rules, self.landlock_abi = landlock.nothing_allowed(self._libc) if sealed else (-1, 0)
        if self._rules >= 0:
            low, self._rules = self._rules, fcntl.fcntl(self._rules, fcntl.F_DUPFD_CLOEXEC, HIGH)
            os.close(low)

    def close(self, limits: Limits, parent: int, keep: int) -> None:
        """Behind this call the process can use its own memory and the files that it holds; nothing else.

        Args:
          parent: pid of the zygote, whose death ends this process too.
          keep: descriptors below this one stay open.
        """
        os.setsid()
        for kind, soft, hard in (
            (resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1),  # the first can be ignored, the second cannot
            (resource.RLIMIT_AS, limits.memory_mb * _MB, limits.memory_mb * _MB),
            (resource.RLIMIT_FSIZE, limits.output_kb << 10, limits.output_kb << 10),
            (resource.RLIMIT_NOFILE, _DESCRIPTORS, _DESCRIPTORS),
            (resource.RLIMIT_NPROC, limits.tasks, limits.tasks),
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_MEMLOCK, 0, 0),
            (resource.RLIMIT_MSGQUEUE, 0, 0),
            (resource.RLIMIT_STACK, _STACK_MB * _MB, _STACK_MB * _MB),
        ):
            resource.setrlimit(kind, (soft, hard))
        self._prctl(_PR_SET_DUMPABLE, 0)
        self._prctl(_PR_SET_PDEATHSIG, 9)
        if os.getppid() != parent:  # it died before that was set
            os._exit(1)
        if self._rules >= 0:
            landlock.restrict(self._libc, self._rules)
        os.closerange(keep, _ALL_DESCRIPTORS)
        if self._sealed:
            seccomp.install(self._libc, seccomp.for_process(self._filter, os.getpid()))

    def _give_up_root(self) -> None:
        """No user but nobody, no group, no capability. A user namespace may refuse the ids, never the capabilities."""
        if os.getuid() == 0:
            for step in (lambda: os.setgroups([]), lambda: os.setresgid(NOBODY, NOBODY, NOBODY)):
                _unless_unmapped(step)
        for capability in range(64):
            self._libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused where there is nothing to drop
        if os.getuid() == 0:
            _unless_unmapped(lambda: os.setresuid(NOBODY, NOBODY, NOBODY))
        version_3 = struct.pack("=Ii", 0x20080522, 0)
        if self._libc.syscall(NUMBERS[self._machine]["capset"], version_3, bytes(24)) != 0:
            raise OSError(ctypes.get_errno(), "capset")

    def _prctl(self, option: int, value: int) -> None:
        if self._libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")


def _unless_unmapped(step: Callable[[], None]) -> None:
    try:
        step()
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
