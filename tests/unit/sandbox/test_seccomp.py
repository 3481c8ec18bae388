"""The filter, read by an interpreter of its few instructions."""

import struct

import pytest

from rrl.sandbox.seccomp import NO_PROCESS, SPECIAL, for_process, program
from rrl.sandbox.syscalls import AUDIT_ARCH, NUMBERS

ALLOW, KILL, EPERM, ENOSYS, ENOTTY = 0x7FFF0000, 0x80000000, 0x50001, 0x50026, 0x50019
PID = 4711
OURS = ("seccomp", "capset", "landlock_create_ruleset", "landlock_restrict_self")


def verdict(machine, number, *arguments, arch=None):
    """What the kernel would do: classic BPF over struct seccomp_data."""
    words = [a & 0xFFFFFFFFFFFFFFFF for a in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("<iIQ6Q", number, AUDIT_ARCH[machine] if arch is None else arch, 0, *words)
    code = list(struct.iter_unpack("=HBBI", program(machine, PID)))
    at, accumulator = 0, 0
    while True:
        op, if_true, if_false, k = code[at]
        at += 1
        if op == 0x20:
            [accumulator] = struct.unpack_from("<I", data, k)
        elif op == 0x54:
            accumulator &= k
        elif op == 0x06:
            return k
        else:
            true = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[op]
            at += if_true if true else if_false


@pytest.fixture(params=sorted(NUMBERS))
def machine(request):
    return request.param


def test_exactly_the_named_calls_are_allowed(machine):
    plain = {number for name, number in NUMBERS[machine].items() if name not in SPECIAL + OURS}
    allowed = {number for number in range(1024) if verdict(machine, number) == ALLOW}
    zero_is_fine = {NUMBERS[machine][name] for name in ("fcntl", "prlimit64", "sched_getaffinity")}
    assert allowed == plain | zero_is_fine
    others = {verdict(machine, n) for n in range(1024)} - {ALLOW}
    assert others == {EPERM, ENOSYS, ENOTTY}


def test_neither_files_nor_processes_nor_networks_are_among_them(machine):
    names = set(NUMBERS[machine]) - set(OURS)
    assert not names & {
        "open", "openat", "openat2", "stat", "newfstatat", "statx", "execve", "execveat", "fork", "vfork", "kill",
        "tkill",
        "socket", "socketpair", "connect", "ptrace", "process_vm_readv", "memfd_create", "prctl", "io_uring_setup",
        "setsid", "unshare", "mount", "bpf", "chdir", "setrlimit", "shmget", "timer_create", "rt_sigqueueinfo",
    }  # fmt: skip


def test_another_machines_calls_kill(machine):
    assert verdict(machine, NUMBERS[machine]["getpid"], arch=0x40000003) == KILL  # i386
    if machine == "x86_64":
        assert verdict(machine, 0x40000000 | NUMBERS[machine]["read"]) == KILL  # x32
        assert verdict(machine, -1) == KILL


def test_clone_makes_threads_alone(machine):
    clone = NUMBERS[machine]["clone"]
    thread = 0x3D0F00  # glibc's: VM FS FILES SIGHAND THREAD SYSVSEM SETTLS PARENT_SETTID CHILD_CLEARTID
    assert verdict(machine, clone, thread) == ALLOW
    assert verdict(machine, clone, thread | 0x400000) == ALLOW  # musl's: DETACHED
    assert verdict(machine, clone, 17) == EPERM  # fork
    assert verdict(machine, clone, 0x4111) == EPERM  # vfork
    for bit in set(range(32)) - {b for b in range(32) if 0x7D0F00 >> b & 1}:
        assert verdict(machine, clone, thread | 1 << bit) == EPERM, bit  # a namespace, a signal, a tracer
    assert verdict(machine, NUMBERS[machine]["clone3"], 1, 88) == ENOSYS


def test_arguments_decide(machine):
    n = NUMBERS[machine]
    assert verdict(machine, n["tgkill"], PID, 1, 9) == ALLOW and verdict(machine, n["tgkill"], PID + 1, 1, 9) == EPERM
    assert verdict(machine, n["prlimit64"], 0) == ALLOW and verdict(machine, n["prlimit64"], PID) == EPERM
    assert verdict(machine, n["sched_getaffinity"], 1) == EPERM
    assert [c for c in range(2048) if verdict(machine, n["fcntl"], 1, c) == ALLOW] == [0, 1, 2, 3, 4, 1030]
    assert [c for c in range(0x5400, 0x5500) if verdict(machine, n["ioctl"], 1, c) == ALLOW] == [0x5450, 0x5451]
    assert verdict(machine, n["ioctl"], 1, 0x5412) == ENOTTY  # TIOCSTI


def test_a_filter_made_once_is_completed_for_each_process(machine):
    made_once = program(machine, NO_PROCESS)
    assert made_once.count(b"\xff\xff\xff\xff") == 1
    assert for_process(made_once, PID) == program(machine, PID) != made_once
