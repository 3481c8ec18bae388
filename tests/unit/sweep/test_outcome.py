"""When a multirun ends its failed jobs are named, those of now and no older ones."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rrl.sweep import record
from rrl.sweep.outcome import Outcome


def ended(folder: Path, status: str, error: str | None) -> None:
    record.append(folder, "started", fingerprint="x")
    record.end(folder, {"status": status, "value": None, "error": error, "traceback": None, "fingerprint": "x"})


def test_failed_and_refused_jobs_of_this_multirun_make_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    ended(tmp_path / "old", "failed", "long ago")
    outcome = Outcome()
    outcome.on_multirun_start(config)
    monkeypatch.setattr(time, "time", lambda: 0.0)   # the clock was set back, or the job's node has another
    ended(tmp_path / "a", "finished", None)
    outcome.on_multirun_end(config)   # nothing failed since
    ended(tmp_path / "b", "failed", "run.x is 0")
    record.append(tmp_path / "a", "refused", error="another config")
    with pytest.raises(SystemExit) as stop:
        outcome.on_multirun_end(config)
    said = str(stop.value)
    assert said.startswith(
        f"rrl-train: 1 of the jobs refused and 1 of the jobs failed: {tmp_path / 'a'}, {tmp_path / 'b'}; see done.json"
    )
    assert "The first said: another config" in said and "old" not in said
