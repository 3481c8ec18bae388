"""The jobs of a multirun: where each runs, with which config, and the command that runs it in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf, open_dict

_OF_THE_PARENT = ("hydra.sweep.", "hydra.launcher", "hydra/launcher", "hydra.sweeper", "hydra/sweeper", "hydra.mode",
                  "hydra.run.")  # fmt: skip  (of Hydra's overrides: what a job's own process must not repeat)

TYPED = "RRL_COMMAND"  # environment variable of a job: what was typed to start its sweep


class Job(NamedTuple):
    """One job. label: its overrides that not all jobs have; cfg: what it runs, without Hydra's part; command: how, in a
    process of its own."""

    number: int
    folder: Path
    label: str
    overrides: tuple[str, ...]
    cfg: DictConfig
    command: tuple[str, ...]


def jobs_of(loader: ConfigLoader, config: DictConfig, overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
    """The jobs that a launcher is given.

    Args:
      loader: Hydra's.
      config: the multirun's, Hydra's part included.
      overrides: of each job, as the sweeper split them.
      first: number of the first job.
    Raises:
      ValueError: the multirun is not one of rrl-train, or two jobs share a folder.
    """
    if config.hydra.job.config_name != "train":
        raise ValueError(
            f"hydra/launcher starts jobs of rrl-train; this command's config is {config.hydra.job.config_name!r}; "
            "use hydra/launcher=basic"
        )
    common = set.intersection(*(set(given) for given in overrides)) if len(overrides) > 1 else set()
    jobs = [_job(loader, config, list(given), first + place, common) for place, given in enumerate(overrides)]
    places: dict[Path, int] = {}
    for job in jobs:
        if (other := places.setdefault(job.folder, job.number)) != job.number:
            raise ValueError(
                f"jobs {other} and {job.number} would both run in {job.folder}; name every axis in hydra.sweep.subdir"
            )
    return jobs


def typed() -> str:
    """The command that a person typed, for the records of the jobs that it starts."""
    program = Path(sys.argv[0]).name
    return " ".join([program if program.startswith("rrl-") else "rrl-train", *sys.argv[1:]])


def command(overrides: Sequence[str], folder: Path, number: int, hydra: Sequence[str]) -> tuple[str, ...]:
    """What runs one job. A job that has a number is one of a sweep: it reads its record before it starts."""
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    own = (f"hydra.run.dir='{quoted}'", "hydra.mode=RUN", f"hydra.job.num={number}", f"hydra.job.id={number}")
    return (sys.executable, "-m", "rrl.train", *hydra, *overrides, *own)


def _job(loader: ConfigLoader, config: DictConfig, overrides: list[str], number: int, common: set[str]) -> Job:
    cfg = loader.load_sweep_config(config, overrides)
    with open_dict(cfg):
        cfg.hydra.job.id = cfg.hydra.job.num = number
    kept = Singleton.get_state()
    HydraConfig.instance().set_config(cfg)  # what ${hydra:...} reads
    folder = Path(str(cfg.hydra.sweep.dir), str(cfg.hydra.sweep.subdir))
    plain: Any = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    Singleton.set_state(kept)
    typed_there: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)  # not the job's ${...}
    hydra = [
        *(f"--config-dir={s.path}" for s in config.hydra.runtime.config_sources if s.provider == "command-line"),
        *(o for o in map(str, typed_there) if not o.lstrip("+~").startswith(_OF_THE_PARENT)),
    ]
    label = " ".join(o for o in overrides if o not in common)
    return Job(number, folder, label, tuple(overrides), plain, command(overrides, folder, number, hydra))
