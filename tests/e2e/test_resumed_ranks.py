"""A run of two ranks resumes exactly on two, to rounding on one; a rank alone never hangs, and says who is to blame."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.options import options
from tests.e2e.commands import ROOT, environment
from tests.e2e.resumed_ranks import HOUSES
from tests.faults.two_ranks import sound

ROUNDING = {"float64": 1e-12}  # of everything with a fraction, after three steps; the others compute in float32
OTHERS = [f"{group}={option}" for group in ("value", "recall", "replay/schedule") for option in options(group)]


def differences(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.resumed_ranks", str(folder), *arguments], cwd=ROOT, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {k: v for line in done.stdout.splitlines() if line.startswith("{") for k, v in json.loads(line).items()}


def check(house: str, found: dict[str, Any]) -> None:
    assert found["two to two"] == found.get("one to one", []) == []  # to the bit, and rank 1's rooms are rank 0's
    if house == "mixed":  # where a token's odds have 8 bits, another order of a sum soon draws another token
        return
    for way in found.keys() & {"two to one", "one to two"}:
        worst, others = found[way]
        assert others == [] and 0.0 < worst < ROUNDING.get(house, 1e-4), (way, worst, others)


def test_two_ranks_resume_on_two_to_the_bit_and_on_one_to_rounding(tmp_path: Path) -> None:
    check("float64", differences(tmp_path, "--one-way", "float64")["float64"])


@pytest.mark.slow
@pytest.mark.parametrize("house", [house for house in HOUSES if house != "float64"])
def test_so_does_every_house(tmp_path: Path, house: str) -> None:
    check(house, differences(tmp_path, house)[house])


@pytest.mark.slow
@pytest.mark.parametrize("house", OTHERS)
def test_and_with_every_value_recall_and_schedule_to_the_bit(tmp_path: Path, house: str) -> None:
    assert differences(tmp_path, "--one-way", house)[house]["two to two"] == []


@pytest.mark.slow
def test_a_sample_of_faults_of_one_rank_leaves_nobody_hanging(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.two_ranks", "--sample", "--seed", "1", "--out", str(tmp_path / "f.csv")],
        cwd=ROOT, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_committed_faults_are_sound_and_strike_both_ranks_and_the_launcher() -> None:
    with open(ROOT / "docs" / "results" / "faults_two_ranks.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) >= 20 and [row for row in rows if not sound(row)] == []
    told = " ".join(f"{row['fault']} {row['where']}" for row in rows)
    for kind in ("SIGKILL of one rank rank 0", "SIGKILL of one rank rank 1", "SIGTERM to one rank rank 1", "SIGSTOP",
                 "SIGKILL of torchrun", "SIGTERM of torchrun", "a loss that is NaN", "a checkpoint fails"):
        assert kind in told
