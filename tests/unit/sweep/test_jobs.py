"""The command of a job repeats what a person typed, without the parent's part; jobs never share a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from rrl.sweep.jobs import Job, jobs_of

OF_THE_PARENT = ["hydra/launcher=proc", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=it's here"]


def jobs(subdir: str, *given: list[str], name: str = "train") -> list[Job]:
    quoted = [o.replace("it's here", "'it\\'s here'") for o in OF_THE_PARENT]
    with initialize_config_module("rrl.conf", version_base="1.3"):
        given_to_all = [*quoted, f"hydra.sweep.subdir={subdir}", "hydra.verbose=true"]
        config = compose(name, given_to_all, return_hydra_config=True)
        loader = GlobalHydra.instance().config_loader()
        config.hydra.job.config_name = name
        return jobs_of(loader, config, given, 3)


def test_a_job_has_its_config_its_folder_and_a_command_that_makes_both_again() -> None:
    first, second = jobs("r${replay.schedule.rho}_s${seed}_${hydra.job.num}",
                         ["seed=0", "replay.schedule.rho=0.2"], ["seed=0", "replay.schedule.rho=0.3"])
    assert (first.number, second.number) == (3, 4)
    assert first.folder == Path("it's here/r0.2_s0_3") and second.folder == Path("it's here/r0.3_s0_4")
    assert first.label == "replay.schedule.rho=0.2" and first.cfg.replay.schedule.rho == 0.2
    assert "hydra" not in first.cfg
    assert first.command == (
        sys.executable, "-m", "rrl.train", "hydra.verbose=true", "seed=0", "replay.schedule.rho=0.2",
        "hydra.run.dir='it\\'s here/r0.2_s0_3'", "hydra.mode=RUN", "hydra.job.num=3", "hydra.job.id=3",
    )  # fmt: skip


def test_two_jobs_in_one_folder_are_refused() -> None:
    with pytest.raises(ValueError, match="jobs 3 and 4 would both run in it's here/s0; name every axis in hydra.sweep"):
        jobs("s${seed}", ["seed=0", "learner.lr=0.1"], ["seed=0", "learner.lr=0.2"])


def test_jobs_of_another_command_are_refused() -> None:
    with pytest.raises(ValueError, match="starts jobs of rrl-train; this command's config is 'eval'"):
        jobs("x", ["seed=0"], name="eval")
