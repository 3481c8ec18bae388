"""Numbers of the system calls that the filter names, by machine. x86_64's own table, and the generic one of aarch64."""

from __future__ import annotations

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""linux/audit.h: what a filter sees as the machine of a call."""

_X86_64 = {
    "read": 0, "write": 1, "readv": 19, "writev": 20, "pread64": 17, "pwrite64": 18, "lseek": 8, "close": 3,
    "fstat": 5, "dup": 32, "dup2": 33, "dup3": 292, "pipe": 22, "pipe2": 293, "ftruncate": 77, "select": 23, "poll": 7,
    "pselect6": 270, "ppoll": 271, "mmap": 9, "mprotect": 10, "munmap": 11, "mremap": 25, "madvise": 28, "brk": 12,
    "futex": 202, "rseq": 334, "set_robust_list": 273, "set_tid_address": 218, "clock_gettime": 228,
    "clock_getres": 229, "clock_nanosleep": 230, "nanosleep": 35, "gettimeofday": 96, "time": 201, "setitimer": 38,
    "getitimer": 36, "alarm": 37, "pause": 34, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigsuspend": 130, "sigaltstack": 131, "restart_syscall": 219,
    "getpid": 39, "gettid": 186, "getppid": 110, "getpgrp": 111, "getuid": 102, "geteuid": 107, "getgid": 104,
    "getegid": 108, "getresuid": 118, "getresgid": 120, "uname": 63, "sysinfo": 99, "getcwd": 79, "getcpu": 309,
    "getrandom": 318, "getrusage": 98, "getrlimit": 97, "times": 100, "sched_yield": 24, "sched_getaffinity": 204,
    "exit": 60, "exit_group": 231, "clone": 56, "clone3": 435, "fcntl": 72, "ioctl": 16, "tgkill": 234,
    "prlimit64": 302, "seccomp": 317, "capset": 126, "landlock_create_ruleset": 444, "landlock_restrict_self": 446,
}  # fmt: skip
_AARCH64 = {
    "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68, "lseek": 62, "close": 57,
    "fstat": 80, "dup": 23, "dup3": 24, "pipe2": 59, "ftruncate": 46, "pselect6": 72, "ppoll": 73, "mmap": 222,
    "mprotect": 226, "munmap": 215, "mremap": 216, "madvise": 233, "brk": 214, "futex": 98, "rseq": 293,
    "set_robust_list": 99, "set_tid_address": 96, "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115,
    "nanosleep": 101, "gettimeofday": 169, "setitimer": 103, "getitimer": 102, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigreturn": 139, "rt_sigpending": 136, "rt_sigtimedwait": 137, "rt_sigsuspend": 133,
    "sigaltstack": 132, "restart_syscall": 128, "getpid": 172, "gettid": 178, "getppid": 173, "getuid": 174,
    "geteuid": 175, "getgid": 176, "getegid": 177, "getresuid": 148, "getresgid": 150, "uname": 160, "sysinfo": 179,
    "getcwd": 17, "getcpu": 168, "getrandom": 278, "getrusage": 165, "getrlimit": 163, "times": 153, "sched_yield": 124,
    "sched_getaffinity": 123, "exit": 93, "exit_group": 94, "clone": 220, "clone3": 435, "fcntl": 25, "ioctl": 29,
    "tgkill": 131, "prlimit64": 261, "seccomp": 277, "capset": 91, "landlock_create_ruleset": 444,
    "landlock_restrict_self": 446,
}  # fmt: skip

NUMBERS = {"x86_64": _X86_64, "aarch64": _AARCH64}
"""Machine -> name -> number. A name that a machine lacks (aarch64 has no ``dup2``) is one that it never calls."""
