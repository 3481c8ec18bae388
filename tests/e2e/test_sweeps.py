"""Sweeps as people type them: run, typed again, changed, killed in the middle; on every launcher and as a search."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from rrl.sweep import record
from tests.e2e.commands import ROOT, SMALL, environment, many, records, script, typed

TINY = [*SMALL, "run.token_budget=300", "warm_start.steps=2", "hydra.sweep.dir=sweep"]
QUIET = "~hydra.callbacks.report"  # no comparison of the runs
BASIC = [f"--config-dir={ROOT}", "+sweeps=rrl_vs_ppo", "seed=0", *TINY]
RRL_SWEEP = ["--sweeps", str(ROOT / "sweeps"), "rrl_vs_ppo"]


def attempts(folder: Path) -> list[dict[str, Any]]:
    return [event for event in record.events(folder) if event["event"] == "started"]


def test_a_sweep_in_one_process_is_skipped_when_typed_again_and_refused_when_changed(tmp_path: Path) -> None:
    first, again, changed = many(
        tmp_path, "rrl-train", [BASIC, [*BASIC, QUIET], [*BASIC, QUIET, "learner.lr=0.002"]]
    )
    jobs = {name: tmp_path / "sweep" / f"{name}_s0" for name in ("ppo", "rrl")}
    assert first.code == 0, first.err
    assert "Means over seeds" in first.out
    for name, folder in jobs.items():
        summary, done = json.loads((folder / "summary.json").read_text()), record.read_done(folder)
        assert (summary["name"], summary["status"], done["status"]) == (name, "finished", "finished")
        assert len(attempts(folder)) == 1 and attempts(folder)[0]["fingerprint"] == done["fingerprint"]
        assert not list(folder.glob("metrics.old*"))
    assert again.code == 0 and "skip: ppo_s0 (finished before)" in again.out and "skip: rrl_s0" in again.out
    assert changed.code == 1 and "2 of the jobs refused" in changed.err
    assert "with another config (learner.lr was 0.001, is 0.002); expected the same one" in changed.err
    assert {record.read_done(folder)["status"] for folder in jobs.values()} == {"finished"}


def test_a_sweep_in_processes_of_its_own_shows_progress_and_goes_on_behind_a_crash(tmp_path: Path) -> None:
    crash = ["replay.store.capacity=0,64", "hydra.sweep.subdir='c${replay.store.capacity}_s${seed}'"]
    done = typed(tmp_path, "rrl-sweep", *RRL_SWEEP, "experiment=rrl", "seed=0", *crash, *TINY, QUIET, "-j", "2")
    assert done.code == 1, done.err
    assert "sweep: 2 jobs, 2 at a time" in done.out and "sweep: 1 failed, 1 finished" in done.out
    assert "c0_s0 failed: replay.store.capacity=0" in done.out
    assert "replay.store.capacity is 0; expected >= 1" in done.out
    assert "rrl-train: 1 of the jobs failed: sweep/c0_s0; see done.json there" in done.err
    run = tmp_path / "sweep" / "c64_s0"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "finished" and "hydra/launcher=proc" in summary["command"]
    assert summary["command"].startswith("rrl-train --config-dir=") and "hydra.job.num" not in summary["command"]
    assert "replay.store.capacity=64" in summary["overrides"] and (run / "stdout.log").stat().st_size > 0
    assert "Traceback" in record.read_done(tmp_path / "sweep" / "c0_s0")["traceback"]


# ------------------------------------------------------------------------------------------ killed in the middle

LONG = [*SMALL, "run.token_budget=9000", "run.checkpoint_every=3", "hydra.sweep.dir=sweep", "seed=0,1"]
LAUNCHERS = {
    "proc": ["-j", "2"],
    "slurm": ["hydra/launcher=slurm", "hydra.launcher.cluster=local", "hydra.launcher.max_jobs=2",
              "hydra.launcher.parameters={timeout_min: 10}"],
    "ray": ["hydra/launcher=ray", "+hydra.launcher.init.num_cpus=2"],
}  # fmt: skip


def start(folder: Path, launcher: str) -> subprocess.Popen[str]:
    arguments = [script("rrl-sweep"), *RRL_SWEEP, *LONG, *LAUNCHERS[launcher]]
    return subprocess.Popen(arguments, cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)  # fmt: skip


def wait_for(path: Path, sweep: subprocess.Popen[str]) -> None:
    patience = time.monotonic() + 200
    while not path.exists():
        assert sweep.poll() is None, sweep.communicate()
        assert time.monotonic() < patience
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_job_is_the_only_one_that_a_rerun_runs_and_it_goes_on_from_its_checkpoint(
    tmp_path: Path, launcher: str
) -> None:
    jobs = [tmp_path / "sweep" / f"{arm}_s{seed}" for arm in ("ppo", "rrl") for seed in (0, 1)]
    sweep = start(tmp_path, launcher)
    wait_for(jobs[0] / "checkpoints" / "step_000003", sweep)
    os.kill(attempts(jobs[0])[-1]["pid"], signal.SIGKILL)
    out, err = sweep.communicate(timeout=300)
    assert sweep.returncode == 1 and "1 of the jobs failed: sweep/ppo_s0" in err, err
    assert "killed by SIGKILL" in out and "sweep: 1 failed, 3 finished" in out
    assert [record.status_of(job) for job in jobs] == ["failed", "finished", "finished", "finished"]

    again = start(tmp_path, launcher)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "sweep: 3 skipped, 1 finished" in out
    assert [record.status_of(job) for job in jobs] == ["finished"] * 4            # none lost
    assert [len(attempts(job)) for job in jobs] == [2, 1, 1, 1]                    # none run twice
    assert attempts(jobs[0])[1]["from_step"] >= 3
    for job in jobs:
        steps = [line["progress/step"] for line in records(job)]
        assert steps == list(range(-1, steps[-1] + 1)) and not list(job.glob("metrics.old*"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [*LAUNCHERS, "basic"])
def test_sigterm_lets_running_jobs_save_starts_no_other_and_the_same_command_goes_on(
    tmp_path: Path, launcher: str
) -> None:
    jobs = [tmp_path / "sweep" / f"{arm}_s{seed}" for arm in ("ppo", "rrl") for seed in (0, 1)]
    basic = [script("rrl-train"), f"--config-dir={ROOT}", "+sweeps=rrl_vs_ppo", *LONG]
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script's & and nohup start it
    try:
        sweep = start(tmp_path, launcher) if launcher != "basic" else subprocess.Popen(
            basic, cwd=tmp_path, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, kept)
    wait_for(jobs[0] / "checkpoints" / "step_000003", sweep)
    sweep.send_signal(signal.SIGTERM)
    out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, out + err
    states = [record.status_of(job) for job in jobs]
    assert states[0] == "interrupted" and states[2:] == ["new", "new"]
    if launcher != "slurm":  # submitit's own process may still be starting, and says how that was broken off
        assert "Traceback" not in out + err

    again = start(tmp_path, "proc")
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert [record.status_of(job) for job in jobs] == ["finished"] * 4
    assert attempts(jobs[0])[-1]["from_step"] >= 3
    steps = [line["progress/step"] for line in records(jobs[0])]
    assert steps == list(range(-1, steps[-1] + 1))


@pytest.mark.slow
def test_a_search_of_two_trials_goes_on_to_four(tmp_path: Path) -> None:
    tiny = [override for override in TINY if not override.startswith("hydra")]
    arguments = ["--searches", str(ROOT / "sweeps" / "search"), "rrl", "--folder", "found", *tiny]
    first = typed(tmp_path, "rrl-search", *arguments, "-n", "2")
    assert first.code == 0 and "rrl: 2 finished" in first.out, first.err
    more = typed(tmp_path, "rrl-search", *arguments, "-n", "4", "-j", "2")
    assert more.code == 0 and "found: 2 jobs, 2 at a time" in more.out and "rrl: 4 finished" in more.out, more.err
    trials = [tmp_path / "found" / f"trial_{n:04d}" for n in range(4)]
    assert [len(attempts(trial)) for trial in trials] == [1, 1, 1, 1]
    with open(tmp_path / "found" / "trials.csv") as table:
        rows = list(csv.DictReader(table))
    for trial, row in zip(trials, rows, strict=True):
        summary = json.loads((trial / "summary.json").read_text())
        assert float(row["value"]) == summary["final"]["eval/hard_success"]
        assert set(row["overrides"].split()) <= set(summary["overrides"])
    assert "best: rrl-train experiment=rrl" in more.out
