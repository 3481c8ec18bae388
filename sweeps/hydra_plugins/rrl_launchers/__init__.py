"""Hydra's launchers of rrl: proc (this machine), slurm and ray (clusters). All they know is which pool to fill.

Hydra imports this file whenever any of its programs starts, so nothing heavy is imported before a launch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus, configure_log
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from rrl.sweep.pool import Pool


class _Launcher(Launcher):
    """One process a job. make_pool: called when there is something to run."""

    def __init__(self, make_pool: Callable[[], Pool], refresh_s: float) -> None:
        self._make_pool, self._refresh_s = make_pool, refresh_s

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Hydra's part of the construction."""
        self._loader, self._config = hydra_context.config_loader, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs. A failed one's value is nan: sweepers go on, the command's exit code tells."""
        from rrl.sweep.jobs import jobs_of
        from rrl.sweep.run import run_jobs
        from rrl.sweep.view import View, terminal

        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        jobs = jobs_of(self._loader, self._config, job_overrides, initial_job_idx)
        pool = self._make_pool()
        view = View(
            title=str(self._config.hydra.sweep.dir), num_jobs=len(jobs), slots=pool.size, refresh_s=self._refresh_s,
            console=terminal(),
        )  # fmt: skip
        ended = run_jobs(jobs, pool, view)
        returns = []
        for job in jobs:
            told = JobReturn(overrides=list(job.overrides), cfg=job.cfg, status=JobStatus.COMPLETED)
            told.return_value = ended[job.number].value
            returns.append(told)
        return returns


class ProcLauncher(_Launcher):
    """hydra/launcher=proc: n jobs at a time on this machine, or one for each GPU."""

    def __init__(self, *, n_jobs: int, gpus: Sequence[Any], refresh_s: float) -> None:
        from rrl.sweep.pool import Processes

        super().__init__(partial(Processes, n_jobs=n_jobs, gpus=[str(device) for device in gpus]), refresh_s)


class SlurmLauncher(_Launcher):
    """hydra/launcher=slurm: jobs of a Slurm cluster through submitit; cluster=local tries it on this machine."""

    def __init__(
        self, *, cluster: str, max_jobs: int, folder: str, parameters: Mapping[str, Any], refresh_s: float
    ) -> None:
        from rrl.sweep.on_submitit import Submitit

        make = partial(Submitit, cluster=cluster, max_jobs=max_jobs, folder=folder, parameters=_plain(parameters))
        super().__init__(make, refresh_s)


class RayLauncher(_Launcher):
    """hydra/launcher=ray: tasks of a Ray cluster, or of a Ray that is started here."""

    def __init__(self, *, init: Mapping[str, Any], num_cpus: float, num_gpus: float, refresh_s: float) -> None:
        from rrl.sweep.on_ray import Ray

        super().__init__(partial(Ray, init=_plain(init), num_cpus=num_cpus, num_gpus=num_gpus), refresh_s)


def _plain(node: Mapping[str, Any]) -> dict[str, Any]:
    """Dicts and lists all the way down, as other people's libraries expect them."""
    plain = OmegaConf.to_container(OmegaConf.create(dict(node)), resolve=True)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}
