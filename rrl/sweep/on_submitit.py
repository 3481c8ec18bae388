"""Jobs of a Slurm cluster, or of submitit's local executor, which behaves as one."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from rrl.sweep.jobs import Job, typed
from rrl.sweep.pool import Handle, work


class Submitit:
    """Submits each job on its own, at most ``max_jobs`` at a time.

    Args:
      cluster: "slurm", "local" or what else submitit knows.
      max_jobs: in the queue at a time; >= 1.
      folder: submitit's own files; seen by all nodes.
      parameters: of the executor, such as timeout_min, gpus_per_node, slurm_partition.
    Raises:
      ValueError: max_jobs below 1, or submitit is not installed.
    """

    def __init__(self, *, cluster: str, max_jobs: int, folder: str, parameters: Mapping[str, Any]) -> None:
        if max_jobs < 1:
            raise ValueError(f"hydra.launcher.max_jobs is {max_jobs}; expected >= 1")
        try:
            import submitit
        except ImportError as error:
            raise ValueError(f"hydra/launcher=slurm needs submitit ({error}); pip install 'rrl[cluster]'") from error
        self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        self._executor.update_parameters(**parameters)
        self._max_jobs, self._running = max_jobs, 0

    @property
    def size(self) -> int:
        return self._max_jobs

    def has_room(self) -> bool:
        return self._running < self.size

    def start(self, job: Job) -> Handle:
        self._running += 1
        given = self._executor.submit(work, job.command, str(job.folder), typed(), os.getcwd())
        return _Submitted(given, self)

    def ended(self) -> None:
        """A handle says so: one may follow."""
        self._running -= 1


class _Submitted:
    def __init__(self, job: Any, pool: Submitit) -> None:
        self.place, self._job, self._pool = f"submitit {job.job_id}", job, pool

    def poll(self) -> int | None:
        if not self._job.done():
            return None
        self._pool.ended()
        error = self._job.exception()
        return int(self._job.result()) if error is None else 1

    def stop(self, number: signal.Signals) -> None:  # noqa: ARG002  (Slurm kills what does not end by itself)
        self._job.cancel(check=False)
