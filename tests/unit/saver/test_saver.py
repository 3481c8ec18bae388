"""When a run is saved, what is on the disk by then, and what happens where the disk says no."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import pytest

from rrl import checkpoint, loop
from rrl.build import House
from rrl.records import Progress
from rrl.replay import segments
from rrl.saver import SaveFailed, Saver, StopRequested, first_progress, progress_from, restore
from rrl.train import _fallback
from tests.sameness import differing, state_of
from tests.small import small_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return small_house(tmp_path_factory.mktemp("saver") / "run", "run.checkpoint_every=3", "warm_start.steps=1")


def at(house: House, step: int, **changes: int) -> Progress:
    return dataclasses.replace(first_progress(house.run), step=step, seconds=12.5, **changes)


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("step_*"))


def test_it_saves_at_every_third_step_also_of_the_warm_up_and_at_the_end(house: House, tmp_path: Path) -> None:
    saver = Saver(house, tmp_path, {})
    house.run.keep_checkpoints = 10
    for step in range(-4, 5):
        saver.after_step(at(house, step))
    saver.after_step(at(house, 5, sampled_tokens=house.run.token_budget))
    assert saved(tmp_path) == ["step_-00003", "step_000000", "step_000003", "step_000005"]
    house.run.keep_checkpoints = 2


def test_a_stop_is_saved_at_any_step_and_obeyed(house: House, tmp_path: Path) -> None:
    saver = Saver(house, tmp_path, {})
    saver.stop = True
    with pytest.raises(StopRequested, match="stopped at step 4"):
        saver.after_step(at(house, 4))
    assert saved(tmp_path) == ["step_000004"]


def test_seconds_go_on_and_make_no_difference(house: House, tmp_path: Path) -> None:
    Saver(house, tmp_path, {}).save(at(house, 1))
    progress = restore(house, checkpoint.latest(tmp_path))
    assert progress.seconds == 12.5 and checkpoint.meta_of(checkpoint.latest(tmp_path))["seconds"] == 12.5
    later = progress.after(tokens=3, signals=None, seconds=0.5)
    assert later.seconds == 13.0
    assert later == dataclasses.replace(later, seconds=99.0)
    assert progress_from(dataclasses.asdict(later)).seconds == 13.0


def test_the_best_by_the_named_metric_is_what_the_record_of_its_step_says(house: House, tmp_path: Path) -> None:
    saver, tracker = Saver(house, tmp_path, {}), house.tracker
    for step, solved in ((0, 0.2), (3, 0.9), (6, None), (9, 0.1)):
        tracker.log(at(house, step), {} if solved is None else {"eval/hard_success": solved})
        saver.after_step(at(house, step))
    assert (tmp_path / "checkpoints" / "best").resolve().name == "step_000003"
    assert saved(tmp_path) == ["step_000000", "step_000003", "step_000006", "step_000009"]
    assert tracker.measured("eval/hard_success", 9) == 0.1 and tracker.measured("eval/hard_success", 8) is None


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoints_before(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = Saver(house, tmp_path, {})
    saver.save(at(house, 0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("rrl.checkpoint.save_file", full)
    with pytest.raises(SaveFailed, match="checkpoint of step 3 was not written: .*No space left on device") as failed:
        saver.after_step(at(house, 3))
    assert saved(tmp_path) == ["step_000000"]
    assert _fallback(failed.value, tmp_path).endswith("the last good checkpoint is " + str(checkpoint.latest(tmp_path)))


def test_records_that_cannot_be_written_hold_the_checkpoint_back(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(type(house.tracker), "sync", broken)
    with pytest.raises(SaveFailed, match="Input/output error"):
        Saver(house, tmp_path, {}).save(at(house, 3))
    assert saved(tmp_path) == []


def test_where_nothing_was_saved_yet_a_failure_says_so(tmp_path: Path) -> None:
    assert _fallback(FloatingPointError(), tmp_path) == "; there is no checkpoint yet"
    assert _fallback(ValueError(), tmp_path) == ""


def test_a_run_of_a_large_store_shares_its_files_and_goes_on_as_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "WHOLE_UP_TO", 0)

    def new(name: str) -> House:
        return small_house(tmp_path / name, "warm_start.steps=1", "replay/schedule=constant", "run.token_budget=600",
                           "run.starts_per_step=16", "run.warm_up.starts=16", "run.warm_up.batches=1")

    whole, again = new("whole"), new("again")
    kept, saver = list[object](), Saver(whole, tmp_path / "run", {})
    monkeypatch.setattr(whole.tracker, "wants", lambda kind: kind == "store")
    monkeypatch.setattr(whole.tracker, "artifact", lambda path, kind: kept.append(checkpoint.load(path)[0]["replay"]))

    def save(progress: Progress) -> None:
        saver.save(progress)
        assert not differing(kept.pop(), whole.replay.state_dict())   # the store by itself, of the same files

    end = loop.train(whole, loop.warm_up(whole, first_progress(whole.run), save), save)
    folders = sorted((tmp_path / "run" / "checkpoints").glob("step_*"), key=lambda path: int(path.name[5:]))
    first, before, last = ({path.name for path in folder.glob("store_*")} for folder in folders)
    assert before and last and not before & last and len(folders) == 3
    assert first & before or first & last
    progress = restore(again, folders[1])
    assert progress.step == end.step - 1
    assert loop.train(again, progress, lambda _: None) == end
    assert not differing(state_of(whole, end), state_of(again, end))
