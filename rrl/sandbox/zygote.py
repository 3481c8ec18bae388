"""The process that forks one locked child for every program. It starts by ``exec``, never by a fork of the trainer,
whose memory holds secrets, threads and a GPU.

Speaks over one socket of packets: first ``{"ready": ..}``, then for each job one packet of limits with the job's files
attached, answered by one packet of how its processes ended; never by a verdict.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import select
import signal
import site
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from rrl.sandbox import guest, habits
from rrl.sandbox.lock import HIGH, Limits, Lock
from rrl.sandbox.packet import JOB, RESULTS, STDERR, STDIN, STDOUT, TESTS
from rrl.sandbox.preload import preload

_MOST_FILES = 8
_GONE_S = 0.25  # how often a waiting zygote looks whether its trainer is still there
_COUNT_S = 2.0  # how often the user's tasks are counted


def serve(descriptor: int, sealed: bool, packages: tuple[str, ...]) -> None:
    """Answers jobs until the socket closes."""
    link = socket.socket(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH))  # children use the low numbers
    try:
        os.closerange(3, HIGH)
        sys.argv[:] = [""]
        preload(packages)
        site.setquit()  # exit() and quit(); the rest of site is not wanted
        habits.replace_what_programs_ask_for()
        lock = Lock(sealed=sealed)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        gc.collect()
        gc.freeze()
    except Exception as error:  # noqa: BLE001 - whatever went wrong is told, and the parent stops
        link.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return
    link.send(json.dumps({"ready": {"landlock": lock.landlock_abi, "uid": os.getuid()}}).encode())
    count = _Tasks()
    while True:
        packet, files, _, _ = socket.recv_fds(link, 1 << 16, _MOST_FILES)
        if not packet:
            return
        asked = json.loads(packet)
        limits = Limits(**asked["limits"] | {"tasks": asked["limits"]["tasks"] + count.now()})
        children = _started(asked["mode"], files, limits, lock)
        for file in files:
            os.close(file)
        link.send(json.dumps(_waited(children, limits.wall_s, link)).encode())


class _Tasks:
    """Processes and threads of this user, for RLIMIT_NPROC; counting all of /proc each time would cost more than a
    program does."""

    def __init__(self) -> None:
        self._count, self._at = 0, -_COUNT_S

    def now(self) -> int:
        if time.monotonic() - self._at >= _COUNT_S:
            self._count = sum(_threads_of(pid) for pid in os.listdir("/proc") if pid.isdecimal())
            self._at = time.monotonic()
        return self._count


def _threads_of(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)
        return int(lines[b"Threads"]) if int(lines[b"Uid"].split()[0]) == os.getuid() else 0
    except (OSError, KeyError):  # it has ended meanwhile
        return 0


# ------------------------------------------------------------------------------------------ children


def _started(mode: str, files: list[int], limits: Limits, lock: Lock) -> list[int]:
    """pids; the process of the program first."""
    if mode == "script":
        return [_fork(guest.run_script, files, JOB, [], limits, lock)]
    if mode == "calls":
        return [_fork(lambda job: guest.run_calls(job, 3), files, JOB, [files[RESULTS]], limits, lock)]
    asked_read, asked_write = os.pipe()
    replied_read, replied_write = os.pipe()
    solver = _fork(lambda job: guest.run_solver(job, 3, 4), files, JOB, [asked_read, replied_write], limits, lock)
    more = [replied_read, asked_write, files[RESULTS]]
    tester = _fork(lambda tests: guest.run_tester(tests, 3, 4, 5), files, TESTS, more, limits, lock)
    for end in (asked_read, asked_write, replied_read, replied_write):
        os.close(end)
    return [solver, tester]


def _fork(
    run: Callable[[dict[str, Any]], int], files: list[int], read: int, more: list[int], limits: Limits, lock: Lock
) -> int:
    """A locked child that has read the file ``read`` and holds stdin, stdout, stderr and ``more`` as 0, 1, 2, 3 and on,
    and nothing else."""
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        job = json.loads(_whole(files[read]))
        held = [os.dup(f) for f in (files[STDIN], files[STDOUT], files[STDERR], *more)]
        for number, file in enumerate(held):
            os.dup2(file, number)
        lock.close(limits, zygote, len(held))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        habits.fresh_standard_streams()
        status = run(job)
    except BaseException:  # noqa: BLE001 - no exception may carry a child into the zygote's loop
        traceback.print_exc()
    finally:
        os._exit(status)


def _whole(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _waited(children: list[int], wall_s: float, link: socket.socket) -> list[dict[str, Any]]:
    """How each child ended, in their order. At ``wall_s`` seconds, or when the trainer is gone, they are killed."""
    end, ended, late = time.monotonic() + wall_s, dict[int, dict[str, Any]](), False
    while len(ended) < len(children):
        left = end - time.monotonic()
        if left <= 0.0 and not late:
            late = True
            _kill(child for child in children if child not in ended)
        signal.sigtimedwait({signal.SIGCHLD}, max(0.0, min(left, _GONE_S)) if not late else _GONE_S)
        for child in children:
            if child not in ended:
                pid, status, usage = os.wait4(child, os.WNOHANG)
                if pid:
                    ended[child] = {
                        "status": os.waitstatus_to_exitcode(status), "late": late,
                        "cpu_s": usage.ru_utime + usage.ru_stime, "max_rss_mb": usage.ru_maxrss / 1024,
                    }  # fmt: skip
        if len(ended) < len(children) and _trainer_is_gone(link):
            _kill(children)
            os._exit(1)
    return [ended[child] for child in children]


def _kill(children: Any) -> None:
    for child in children:
        for kill in (os.killpg, os.kill):  # the group is there once the child has called setsid
            try:
                kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _trainer_is_gone(link: socket.socket) -> bool:
    ready, _, _ = select.select([link], [], [], 0.0)
    return bool(ready) and not link.recv(1, socket.MSG_PEEK)
