"""A sample of the campaign, and that its comparison sees what it is for. The whole of it: docs/results/faults.md."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.commands import environment
from tests.faults.campaign import sound

PLANTED = """
import json, sys
from pathlib import Path
from rrl import manifest
from tests.faults import faults
from tests.faults.campaign import Campaign, sound, _steps
from tests.faults.process import KILLED, train

campaign = Campaign(Path(sys.argv[1]), seed=0)
place = campaign._new()
ended = train(place, campaign._arguments, faults.kill_at_line("log", campaign._lines["log"] // 2))
newest = place / "run" / "checkpoints" / f"step_{_steps(place / 'run')[-1]:06d}"
state = json.loads((newest / "state.json").read_text())
state["replay"]["last_rescore"] = -5  # what a checkpoint that forgets it would hold
(newest / "state.json").write_text(json.dumps(state))
manifest.seal(newest)
row = campaign._aftermath("SIGKILL", "planted", place, ended, KILLED)
print("SOUND" if sound(row) else "NOT SOUND")
"""


@pytest.mark.slow
def test_a_sample_of_faults_loses_nothing_and_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "faults.csv"
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.campaign", "--kills", "10", "--terminations", "2", "--seed", "1",
         "--out", str(out)], cwd=ROOT, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with open(out, newline="") as table:
        kinds = Counter(row["fault"] for row in csv.DictReader(table))
    assert set(kinds) >= {"SIGKILL", "SIGKILL twice", "torn write", "failing write", "SIGTERM", "damaged file"}
    assert kinds["damaged file"] >= 16 + 3 * 4 and kinds["SIGTERM"] == 2


@pytest.mark.slow
def test_the_comparison_sees_a_checkpoint_that_forgot_something(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PLANTED, str(tmp_path)], cwd=ROOT, env=environment(),
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "NOT SOUND", done.stdout[-2000:]


def test_the_committed_campaign_is_sound_and_has_fifty_kills() -> None:
    with open(ROOT / "docs" / "results" / "faults.csv", newline="") as table:
        rows = [{k: int(v) if v.lstrip("-").isdigit() else v for k, v in row.items()} for row in csv.DictReader(table)]
    assert [json.dumps(row) for row in rows if not sound(row)] == []
    assert sum(row["exit"] == -9 and str(row["fault"]).startswith("SIGKILL") for row in rows) >= 50
