"""Jobs as tasks of a Ray cluster, one worker each; a cluster of one machine is started where none is named."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from rrl.sweep.jobs import Job, typed
from rrl.sweep.pool import Handle, work


class Ray:
    """As many jobs at a time as the cluster has room for.

    Args:
      init: of ray.init.
      num_cpus, num_gpus: of a job; num_cpus > 0.
    Raises:
      ValueError: Ray is not installed, or num_cpus is not above 0.
    """

    def __init__(self, *, init: Mapping[str, Any], num_cpus: float, num_gpus: float) -> None:
        if num_cpus <= 0:
            raise ValueError(f"hydra.launcher.num_cpus is {num_cpus}; expected > 0")
        try:
            import ray
        except ImportError as error:
            raise ValueError(f"hydra/launcher=ray needs ray ({error}); pip install 'rrl[cluster]'") from error
        if not ray.is_initialized():
            ray.init(**{"include_dashboard": False, "log_to_driver": False, "configure_logging": False, **init})
        self._ray: Any = ray
        self._num_cpus, self._num_gpus, self._running = num_cpus, num_gpus, 0
        # No retries: Ray would run a job behind our back, when its record says that it was killed.
        self._work = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=0)(work)

    @property
    def size(self) -> int:
        """Room now; a cluster may grow."""
        there = self._ray.cluster_resources()
        sizes = [there.get("CPU", 0.0) // self._num_cpus]
        sizes += [there.get("GPU", 0.0) // self._num_gpus] if self._num_gpus else []
        return max(1, int(min(sizes)))

    def has_room(self) -> bool:
        return self._running < self.size

    def start(self, job: Job) -> Handle:
        self._running += 1
        return _Task(self._work.remote(job.command, str(job.folder), typed(), os.getcwd()), self)

    def ended(self) -> None:
        """A handle says so: one may follow."""
        self._running -= 1


class _Task:
    def __init__(self, task: Any, pool: Ray) -> None:
        import ray

        self.place, self._ray, self._task, self._pool = "ray", ray, task, pool

    def poll(self) -> int | None:
        ready, _ = self._ray.wait([self._task], timeout=0)
        if not ready:
            return None
        self._pool.ended()
        try:
            return int(self._ray.get(self._task))
        except self._ray.exceptions.RayError:  # the worker died or was cancelled: the job's record says how far it came
            return 1

    def stop(self, number: signal.Signals) -> None:
        self._ray.cancel(self._task, force=number == signal.SIGKILL)
