"""`rrl-train task=code` as a user types it: programs run behind a wall, or not at all, or because the user said so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import ROOT, environment, records, typed
from tests.text import SMALL_TEXT, TEXT_TASKS

FEW = (
    *SMALL_TEXT, "run.token_budget=1500", "run.starts_per_step=4", "run.samples_per_start=2", "run.warm_up.batches=1",
    "run.warm_up.starts=4", "warm_start.steps=2", "warm_start.batch=2", "evaluate.max_problems=1", "tracker=[jsonl]",
    "replay/schedule=constant", "replay/cut=steps", "hydra.run.dir=run",
)  # fmt: skip


def arguments(task: str) -> list[str]:
    return [f"task={task}", *FEW, *TEXT_TASKS[task]]


def test_a_machine_without_a_wall_is_refused_in_one_line(tmp_path: Path) -> None:
    under = [sys.executable, str(ROOT / "tests/sandbox/under.py"), "seccomp", "--"]
    command = [*under, sys.executable, "-m", "rrl.train", *arguments("code")]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("rrl-train: ")]
    assert "programs of a model cannot be run safely here" in line and "no seccomp" in line
    assert line.endswith("Only if this machine may be lost: task.grader.sandbox.unsafe=true")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("task", ["code", "code_status", "mbpp"])
def test_it_trains_on_the_samples_behind_a_wall_that_its_record_names(tmp_path: Path, task: str) -> None:
    done = typed(tmp_path, "rrl-train", *arguments(task))
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "run" / "sandbox.json").read_text())
    assert record["wall"] in ("bwrap", "sealed") and record["unsafe"] is False
    assert "programs run behind" in (tmp_path / "run" / "train.log").read_text()
    assert len(records(tmp_path / "run")) >= 2


@pytest.mark.slow
def test_unsafe_is_typed_warned_of_and_recorded(tmp_path: Path) -> None:
    done = typed(tmp_path, "rrl-train", *arguments("code"), "task.grader.sandbox.unsafe=true")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "run" / "sandbox.json").read_text())
    assert (record["wall"], record["unsafe"]) == ("unsafe", True)
    assert "NO wall" in (tmp_path / "run" / "train.log").read_text()
    assert "unsafe: true" in (tmp_path / "run" / "config.yaml").read_text()
