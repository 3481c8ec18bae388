"""Where jobs run. A pool starts a job's command in a slot; the handle says how it is and passes signals on.

``Processes`` has slots of this machine; on_submitit.py and on_ray.py are pools of clusters.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from rrl.sweep.jobs import TYPED, Job, typed

LOG = "stdout.log"  # in the job's folder: what its process printed
_LOOK_S = 0.5  # Ray's cancelling sets a flag that only running Python sees: no wait may be endless


class Handle(Protocol):
    """A job that was started. place: where, for people."""

    place: str

    def poll(self) -> int | None:
        """The exit code of the job's process, minus the number of the signal that killed it; None while it runs."""
        ...

    def stop(self, number: signal.Signals) -> None:
        """SIGTERM: save and stop. SIGINT behind it: stop at once. SIGKILL: be gone."""
        ...


class Pool(Protocol):
    """Slots for jobs."""

    @property
    def size(self) -> int:
        """Jobs at a time."""
        ...

    def has_room(self) -> bool:
        """Whether a job can be started now."""
        ...

    def start(self, job: Job) -> Handle:
        """Start it; there is room."""
        ...


class Processes:
    """n slots of this machine, or one for each GPU.

    Args:
      n_jobs: jobs at a time; >= 1; not read where gpus are given.
      gpus: device numbers; a job sees one of them.
    Raises:
      ValueError: n_jobs below 1, or a GPU named twice.
    """

    def __init__(self, *, n_jobs: int, gpus: Sequence[str]) -> None:
        if n_jobs < 1:
            raise ValueError(f"hydra.launcher.n_jobs is {n_jobs}; expected >= 1")
        if len(set(gpus)) != len(gpus):
            raise ValueError(f"hydra.launcher.gpus is {list(gpus)}; expected each device once")
        self._free: list[str | None] = list(reversed(gpus)) if gpus else [None] * n_jobs
        self._size = len(self._free)

    @property
    def size(self) -> int:
        return self._size

    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, job: Job) -> Handle:
        return _Process(job, self._free.pop(), self._free)


class _Process:
    """One process, in a session of its own: Ctrl-C in a terminal reaches the launcher alone, which passes it on."""

    def __init__(self, job: Job, gpu: str | None, free: list[str | None]) -> None:
        self.place = "" if gpu is None else f"GPU {gpu}"
        self._gpu, self._free = gpu, free
        seen = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        self._process = popen(job.command, job.folder, {**os.environ, TYPED: typed(), **seen})

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None:
            self._free.append(self._gpu)
        return code

    def stop(self, number: signal.Signals) -> None:
        self._process.send_signal(number)


def popen(command: Sequence[str], folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """The job's process; what it prints is added to stdout.log in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOG, "ab") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, start_new_session=True
        )


def work(command: Sequence[str], folder: str, typed: str, cwd: str) -> int:
    """Run a job's process on a machine of a cluster and wait for it; Ctrl-C and SIGTERM reach it. Its exit code."""
    os.chdir(cwd)
    process = popen(command, Path(folder), {**os.environ, TYPED: typed})  # devices: the cluster's to say

    def pass_on(*_: object) -> None:
        process.send_signal(signal.SIGTERM)

    with suppress(ValueError):  # not the main thread: the cluster's own ways remain
        for number in (signal.SIGTERM, signal.SIGINT):  # cancelling is SIGINT to Ray, which & and nohup have us ignore
            signal.signal(number, pass_on)
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=_LOOK_S)
