import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from rrl.records import Progress
from rrl.tracker.jsonl import Jsonl


def progress(step: int) -> Progress:
    return Progress(step=step, sampled_tokens=10 * step, token_budget=100, history=(), first=None, peak=None)


def jsonl(folder: Path) -> Jsonl:
    return Jsonl(output_dir=folder, max_table_rows=3)


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["progress/step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_every_line_is_on_disk_at_once_with_its_place(tmp_path):
    tracker = jsonl(tmp_path)
    tracker.log(progress(1), {"learn/loss": 0.5})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "progress/step": 1, "progress/sampled_tokens": 10, "learn/loss": 0.5,
    }  # fmt: skip


def test_resume_cuts_what_the_checkpoint_has_not_seen_and_a_torn_line(tmp_path):
    tracker = jsonl(tmp_path)
    for step in range(-1, 5):
        tracker.log(progress(step), {})
    tracker.close("interrupted")
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"progress/step": 5, "learn')
    resumed = jsonl(tmp_path)
    resumed.resume_at(2)
    assert steps(tmp_path) == [-1, 0, 1, 2]
    resumed.log(progress(3), {})
    assert steps(tmp_path) == [-1, 0, 1, 2, 3]


def test_resume_in_an_empty_folder_begins_the_file(tmp_path):
    tracker = jsonl(tmp_path / "new")
    tracker.resume_at(2)
    tracker.log(progress(3), {})
    assert steps(tmp_path / "new") == [3]


def test_a_new_run_in_an_old_folder_sets_the_old_lines_aside(tmp_path, caplog):
    for step in (1, 2, 3):
        tracker = jsonl(tmp_path)
        tracker.log(progress(step), {})
        tracker.close("finished")
    assert steps(tmp_path) == [3]
    assert sorted(p.name for p in tmp_path.glob("metrics.old*")) == ["metrics.old1.jsonl", "metrics.old2.jsonl"]
    assert "earlier run" in caplog.text


def test_a_table_replaces_itself_and_is_bounded(tmp_path, caplog):
    tracker = jsonl(tmp_path)
    tracker.table("prefixes", [{"n": 9}])
    tracker.table("prefixes", [{"n": i} for i in range(5)])
    tracker.table("prefixes", [{"n": i} for i in range(5)])
    lines = (tmp_path / "tables" / "prefixes.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == [0, 1, 2]
    assert len(caplog.records) == 1
    assert not list((tmp_path / "tables").glob("*.tmp"))


def test_a_bound_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"tracker.jsonl.max_table_rows is 0"):
        Jsonl(output_dir=tmp_path, max_table_rows=0)


def test_a_line_that_a_full_disk_refuses_is_written_with_the_next_one(tmp_path, monkeypatch):
    tracker, write, calls = jsonl(tmp_path), os.write, []

    def fills_up(handle, data):
        """The second write takes ten bytes, the third none."""
        calls.append(len(data))
        if len(calls) == 2:
            return write(handle, data[:10])
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    tracker.log(progress(1), {"learn/loss": 0.5})
    monkeypatch.setattr(os, "write", fills_up)
    tracker.log(progress(2), {})
    with pytest.raises(OSError, match="No space left"):
        tracker.log(progress(3), {})
    tracker.sync()
    assert steps(tmp_path) == [1, 2, 3]
    tracker.log(progress(4), {})
    tracker.close("finished")
    assert steps(tmp_path) == [1, 2, 3, 4]


def test_sync_waits_until_the_disk_has_every_line(tmp_path, monkeypatch):
    tracker, synced = jsonl(tmp_path), []
    tracker.sync()  # nothing was written yet
    tracker.log(progress(1), {})
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    tracker.sync()
    assert synced == [str(tmp_path / "metrics.jsonl")]


def test_records_that_are_missing_before_the_checkpoint_are_told(tmp_path, caplog):
    tracker = jsonl(tmp_path)
    for step in (-1, 0, 1, 4):
        tracker.log(progress(step), {})
    tracker.close("interrupted")
    jsonl(tmp_path).resume_at(4)
    assert [r.getMessage() for r in caplog.records if "has no records of steps 2 to 3" in r.getMessage()]
    caplog.clear()
    jsonl(tmp_path).resume_at(1)
    assert steps(tmp_path) == [-1, 0, 1] and not caplog.records


def test_a_checkpoint_does_not_follow_records_that_somebody_removed(tmp_path):
    tracker = Jsonl(output_dir=tmp_path / "run", max_table_rows=10)
    tracker.log(progress(1), {})
    tracker.sync()
    shutil.rmtree(tmp_path / "run")
    tracker.log(progress(2), {})  # the open file takes it
    with pytest.raises(FileNotFoundError, match="metrics.jsonl was removed while the run wrote it"):
        tracker.sync()
