"""A job's record: two configs that mean the same run share a fingerprint; what a rerun does, state by state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rrl.sweep import record
from tests.unit.sweep.fakes import config

CFG = config()
SAME, OTHER = record.fingerprint(CFG), record.fingerprint(config(learner__lr=0.2))


def ended(folder: Path, status: str, *, mark: str | None = SAME, checkpoint: bool = False) -> Path:
    """A job's folder after an attempt that ended as ``status``."""
    folder.mkdir(parents=True)
    record.begin(folder, str(mark), None)
    if status != "killed":
        record.end(folder, {"status": status, "value": 0.25, "error": None, "traceback": None, "fingerprint": mark})
    if checkpoint:
        (folder / "checkpoints" / "step_000005").mkdir(parents=True)
        (folder / "checkpoints" / "step_000005" / "meta.json").write_text("{}")
    return folder


def test_a_fingerprint_covers_all_that_changes_a_run_and_nothing_that_does_not() -> None:
    same = [config(run__num_threads=8), config(tracker={"jsonl": {"max_table_rows": 3}}), config(resume="latest")]
    assert {record.fingerprint(cfg) for cfg in same} == {SAME}
    other = [config(seed=1), config(learner__lr=0.11), config(run__token_budget=101), config(name="x")]
    assert len({record.fingerprint(cfg) for cfg in other} | {SAME}) == 5


def test_interpolations_count_by_what_they_stand_for() -> None:
    one = OmegaConf.create({"a": 1, "b": "${a}"})
    two = OmegaConf.create({"a": 1, "b": 1})
    assert record.fingerprint(one) == record.fingerprint(two)


@pytest.mark.parametrize(("status", "mark", "checkpoint", "verb"), [
    ("finished", SAME, True, "skip"), ("finished", SAME, False, "skip"),
    ("interrupted", SAME, True, "resume"), ("killed", SAME, True, "resume"), ("failed", SAME, True, "resume"),
    ("interrupted", SAME, False, "start"), ("killed", SAME, False, "start"), ("failed", SAME, False, "start"),
    ("failed", OTHER, True, "start"), ("failed", OTHER, False, "start"),     # a mistake that was mended
    ("interrupted", OTHER, False, "start"), ("killed", OTHER, False, "start"),   # nothing there to lose
])  # fmt: skip
def test_what_a_rerun_does(tmp_path: Path, status: str, mark: str, checkpoint: bool, verb: str) -> None:
    folder = ended(tmp_path / "job", status, mark=mark, checkpoint=checkpoint)
    assert record.status_of(folder) == status
    plan = record.plan(folder, CFG)
    assert plan.verb == verb and plan.value == (0.25 if verb == "skip" else None)


@pytest.mark.parametrize(("status", "checkpoint"), [("finished", False), ("interrupted", True), ("killed", True)])
def test_a_result_of_another_config_is_refused_with_the_keys_that_differ(
    tmp_path: Path, status: str, checkpoint: bool
) -> None:
    folder = ended(tmp_path / "job", status, mark=OTHER, checkpoint=checkpoint)
    OmegaConf.save(config(learner__lr=0.2), folder / "config.yaml")
    with pytest.raises(ValueError, match=rf"job \({status}\) with another config \(learner.lr was 0.2, is 0.1\)"):
        record.plan(folder, CFG)


def test_a_new_folder_is_started_and_a_folder_of_an_earlier_version_is_judged_by_its_config(tmp_path: Path) -> None:
    assert record.plan(tmp_path / "new", CFG) == record.Plan("start", "new", None)
    (tmp_path / "done.json").write_text(json.dumps({"status": "finished", "value": 0.75}))
    OmegaConf.save(CFG, tmp_path / "config.yaml")
    assert record.plan(tmp_path, CFG) == record.Plan("skip", "finished before", 0.75)
    with pytest.raises(ValueError, match="seed was 0, is 3"):
        record.plan(tmp_path, config(seed=3))


def test_a_job_is_held_by_one_process_and_running_while_it_is(tmp_path: Path) -> None:
    record.begin(tmp_path, SAME, None)
    with record.claimed(tmp_path):
        assert record.is_taken(tmp_path) and record.status_of(tmp_path) == "running"
        with pytest.raises(record.Taken, match="is being run by another process"), record.claimed(tmp_path):
            pass
    assert not record.is_taken(tmp_path) and record.status_of(tmp_path) == "killed"


def test_the_log_of_attempts_is_never_cut_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    folder = ended(tmp_path / "job", "failed")
    record.begin(folder, SAME, 5)
    assert not (folder / "done.json").exists()
    with open(folder / "job.jsonl", "a") as file:
        file.write('{"event": "fini')
    events = record.events(folder)
    assert [e["event"] for e in events] == ["started", "failed", "started"]
    assert [e["from_step"] for e in events if e["event"] == "started"] == [None, 5]


def test_a_start_from_the_beginning_leaves_nothing_that_could_be_taken_for_its_own(tmp_path: Path) -> None:
    folder = ended(tmp_path / "job", "failed", checkpoint=True)
    (folder / "summary.json").write_text("{}")
    record.clear(folder)
    assert not (folder / "checkpoints").exists() and not (folder / "summary.json").exists()
    assert (folder / "job.jsonl").exists()


def test_a_job_whose_record_is_damaged_is_taken_for_a_killed_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = ended(tmp_path / "job", "interrupted", checkpoint=True)
    (folder / "done.json").write_text('{"status": "inter')
    assert record.status_of(folder) == "killed" and record.plan(folder, CFG).verb == "resume"
    assert "done.json cannot be read" in caplog.text
