"""``rrl-train`` on two ranks, each forked from one process that has everything imported; one of them can be struck."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.e2e.commands import environment, script
from tests.faults import faults
from tests.faults.process import Ended, _become, _ended, records

SIZE = 2
HUNG = 999  # in place of an exit code: it had to be killed by the harness


class BothEnded(NamedTuple):
    """ranks: how each ended; HUNG where it did not.  seconds: from the first fork until the last end."""

    ranks: list[Ended]
    seconds: float

    @property
    def codes(self) -> list[int]:
        return [ended.code for ended in self.ranks]

    @property
    def out(self) -> str:
        return "".join(f"--- rank {i}\n{ended.out}" for i, ended in enumerate(self.ranks))


def train_together(
    folder: Path, arguments: Sequence[str], struck: Mapping[int, faults.Fault] | None = None, *, size: int = SIZE,
    signals_after: Sequence[tuple[float, int, int]] = (), limit_s: float = 60.0,
) -> BothEnded:
    """Run ``rrl-train`` with ``arguments`` in ``folder`` as ``size`` ranks.

    Args:
      struck: rank -> its fault, called in that process before it begins.
      signals_after: (seconds, rank, signal) that this process sends, in order of time.
      limit_s: seconds after which the ranks that still run are killed and count as HUNG.
    """
    begin, waiting = time.monotonic(), list(signals_after)
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    outs = [folder / f"out_{rank}.txt" for rank in range(size)]
    notes = [folder / f"restored_{rank}.txt" for rank in range(size)]
    children: dict[int, int] = {}
    sys.stdout.flush()
    for rank in range(size):
        notes[rank].unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            os.environ.update(shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            _become(folder, arguments, (struck or {}).get(rank), outs[rank], notes[rank])
        children[rank] = child
    codes: dict[int, int] = {}
    while len(codes) < size:
        now = time.monotonic() - begin
        while waiting and now >= waiting[0][0]:
            _, rank, number = waiting.pop(0)
            if rank not in codes:
                os.kill(children[rank], number)
        for rank in children.keys() - codes.keys():
            pid, status = os.waitpid(children[rank], os.WNOHANG)
            if pid:
                codes[rank] = os.waitstatus_to_exitcode(status)
            elif now > limit_s or (len(codes) == size - 1 and _stands_still(pid=children[rank])):
                os.kill(children[rank], signal.SIGKILL)  # one that was stopped is what its launcher would kill now
                os.waitpid(children[rank], 0)
                codes[rank] = HUNG if now > limit_s else -signal.SIGKILL
        time.sleep(0.002)
    ended = [_ended(codes[rank], outs[rank], notes[rank], begin) for rank in range(size)]
    return BothEnded(ended, time.monotonic() - begin)


def send(number: int) -> faults.Fault:
    return lambda: os.kill(os.getpid(), number)


def torchrun_struck(place: Path, arguments: Sequence[str], number: int) -> tuple[int, dict[str, int]]:
    """Its exit code, and of its ranks: the last step told when it was struck, the run's end (0 = finished), and how
    many are still there 20 s later."""
    job = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", script("rrl-train"),
         *arguments], cwd=place, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 120
    while (told_by(place / "run") or 0) < 5 and time.monotonic() < until:
        time.sleep(0.01)
    ranks, told = _children(job.pid), told_by(place / "run") or 0
    job.send_signal(number)
    code = job.wait(timeout=60)
    until = time.monotonic() + 20
    while (alive := [pid for pid in ranks if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    finished = (place / "run" / "summary.json").is_file() and (
        '"status": "finished"' in (place / "run" / "summary.json").read_text()
    )
    return code, {"told": told, "code": 0 if finished else 1, "ranks": len(alive)}


def told_by(run: Path) -> int | None:
    """The last step in a run's records."""
    told = [int(record["progress/step"]) for record in records(run)]
    return told[-1] if told else None


def _stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
