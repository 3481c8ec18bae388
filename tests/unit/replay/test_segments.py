"""A large store in checkpoints: what is read back, what is shared, and how much of it there is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rrl import checkpoint, durable
from rrl.replay import number_files, segments, token_files
from rrl.replay.number_files import BLOCK, NumberFiles, lay_over
from rrl.replay.segment_files import not_kept
from rrl.replay.segments import Part, Turns
from rrl.replay.store import Store
from tests.unit.replay.builders import a_prefix, a_problem, a_replay, a_store, add, fill, remove, same

PROBLEMS = [a_problem(f"p{i}", solution=(3, 4), answer=f"a{i}", max_response=50) for i in range(7)]


@pytest.fixture(autouse=True)
def all_stores_are_large_and_all_files_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "WHOLE_UP_TO", 0)
    monkeypatch.setattr(token_files, "_TOKENS", 500)
    monkeypatch.setattr(number_files, "PIECE", 4000)


def churn(store: Store, generator: np.random.Generator, num: int) -> None:
    """Adds, evictions, scores, bookings and answers, all at random."""
    for _ in range(num):
        problem = PROBLEMS[int(generator.integers(len(PROBLEMS)))]
        tokens = tuple(generator.integers(1, 60, int(generator.integers(1, 40))).tolist())
        add(store, a_prefix(problem, tokens, value=float(generator.random())), done=float(generator.random()))
    rows = store.shelf.all_rows()
    some = generator.choice(rows, len(rows) // 2, replace=False)
    store.write_scores(some, generator.random(len(some)), generator.random(len(some)), 3)
    store.problems.columns["root_value"][: len(store.problems)] = generator.random(len(store.problems))
    store.problems.converted[int(generator.integers(len(store.problems)))] = (5, int(generator.integers(60)))
    store.step = max(store.step + 1, 0)


def saving(store: Store, folder: Path, kept: int = 1) -> Callable[[], Path]:
    """Saves the store as step 0, 1, 2, ... in ``folder``."""
    turns, step = Turns(), iter(range(10**6))

    def save() -> Path:
        part = turns.state(store, threading.RLock(), kept)
        return checkpoint.save(folder / f"step_{next(step):06d}", {"store": part}, {})

    return save


def read(folder: Path) -> Any:
    return checkpoint.load(folder)[0]["store"]


def names(folder: Path, kind: str = "") -> set[str]:
    return {path.name for path in folder.glob(f"store_*{kind}.safetensors")}


def test_what_is_read_back_is_the_state_whatever_happened_between_the_saves(tmp_path: Path) -> None:
    store, generator = a_store(slots_per_problem=30, capacity=120, dedup="exact"), np.random.default_rng(0)
    save = saving(store, tmp_path)
    for num in (200, 1, 0, 50, 300, 7, 7, 7):
        churn(store, generator, num) if num else None
        assert same(read(save()), store.state_dict())
    store.problems.converted.clear()
    assert same(read(save()), store.state_dict())


def test_a_checkpoint_adds_what_is_new_and_links_the_rest(tmp_path: Path) -> None:
    store = a_store(slots_per_problem=400, capacity=1000, dedup="exact")
    churn(store, np.random.default_rng(0), 300)
    save = saving(store, tmp_path)
    first = save()
    add(store, a_prefix(PROBLEMS[0], (61, 62, 63)))
    second = save()
    new = names(second) - names(first)
    assert {name.split("_")[-1] for name in new} == {"numbers.safetensors", "tokens.safetensors"}
    assert names(first, "tokens") < names(second, "tokens") and len(names(first, "tokens")) > 8   # of 500 tokens each
    assert names(first, "problems") == names(second, "problems")
    tokens, = (name for name in new if "tokens" in name)
    from safetensors.numpy import load_file
    assert load_file(second / tokens)["tokens"].tolist() == [61, 62, 63]
    for name in names(first) & names(second):
        assert (first / name).samefile(second / name)
    assert names(save()) == names(second)   # nothing is new


def test_two_lines_take_turns_so_that_neighbours_share_nothing(tmp_path: Path) -> None:
    store, generator = a_store(slots_per_problem=400, capacity=1000, dedup="exact"), np.random.default_rng(0)
    save, folders = saving(store, tmp_path, kept=2), list[Path]()
    for _ in range(6):
        churn(store, generator, 30)
        folders.append(save())
        assert same(read(folders[-1]), store.state_dict())
    for before, after in zip(folders, folders[1:], strict=False):
        assert not names(before) & names(after)
    for before, after in zip(folders, folders[2:], strict=False):
        assert names(before) & names(after)


def test_a_place_taken_by_the_same_prefix_again_is_the_youngest(tmp_path: Path) -> None:
    store = a_store(dedup="exact")
    save = saving(store, tmp_path)
    for token in (3, 4):
        add(store, a_prefix(PROBLEMS[0], (token,)))
    save()
    remove(store, int(store.shelf.rows_of(0)[0]))
    add(store, a_prefix(PROBLEMS[0], (3,)))   # takes the same place
    assert read(save())["shelf"]["tokens"].tolist() == [4, 3]


@pytest.mark.parametrize("capacity", [300, 5000])   # with and without evictions
def test_a_folder_stays_within_about_twice_its_store_and_some_dozens_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capacity: int
) -> None:
    monkeypatch.setattr(durable, "sync", lambda path: None)   # 10 s of it
    store = a_store(slots_per_problem=capacity, capacity=capacity, dedup="exact")
    generator, save, last = np.random.default_rng(0), saving(store, tmp_path), list[Path]()
    for _ in range(60):
        churn(store, generator, 25)
        last.append(folder := save())
        tokens = store.shelf.columns["length"][store.shelf.all_rows()].sum()
        size = {kind: sum((folder / name).stat().st_size for name in names(folder, kind)) for kind in segments.KINDS}
        numbers = len(store) * store.shelf.columns.row_bytes
        assert size["tokens"] <= 2 * 4 * tokens + 100 * len(names(folder, "tokens"))   # 100: a file's header
        assert size["numbers"] <= 4 * numbers + (1 << 16) + 10_000 * len(names(folder, "numbers"))
        # 8 of each size of 8^0 to 8^2 tokens, new ones, and those of more than half of the 500; a whole and 16 changes
        assert len(names(folder, "tokens")) <= 3 * 8 + 3 + tokens / 250
        assert len(names(folder, "problems")) <= 17
        if len(last) > 2:
            durable.remove(last.pop(0))
    assert same(read(folder), store.state_dict())


def test_a_file_that_was_lost_since_is_written_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = a_store()
    save = saving(store, tmp_path)
    churn(store, np.random.default_rng(0), 20)
    first = save()
    lost = min(names(first, "tokens"))
    (first / lost).unlink()
    second = save()
    assert not names(first) & names(second) and same(read(second), store.state_dict())
    assert f"{first} no longer holds {lost} as it was written; the store is written anew" in caplog.text


def test_damage_that_is_linked_is_not_sealed_but_found(tmp_path: Path) -> None:
    store = a_store()
    save = saving(store, tmp_path)
    churn(store, np.random.default_rng(0), 20)
    first = save()
    flipped = max(names(first, "tokens"))
    data = bytearray((first / flipped).read_bytes())
    data[-1] ^= 1
    (first / flipped).write_bytes(bytes(data))
    second = save()
    for folder in (first, second):
        with pytest.raises(ValueError, match=f"{folder.name}' is damaged: {flipped} is not as it was written"):
            read(folder)


def test_a_part_is_written_twice_as_the_same_files(tmp_path: Path) -> None:
    store = a_store()
    churn(store, np.random.default_rng(0), 20)
    turns = Turns()
    for step in range(4):
        part = turns.state(store, threading.RLock(), 2)
        one = checkpoint.save(tmp_path / f"step_{step}", {"store": part}, {})
        other = checkpoint.save(tmp_path / "store", {"store": part}, {})
        assert names(one) == names(other) and same(read(other), store.state_dict())
        if step >= 2:
            assert names(one) == names(tmp_path / f"step_{step - 2}")   # the line goes on, whatever became of "store"
        churn(store, np.random.default_rng(step), 0) if step == 3 else None


def test_small_and_empty_stores_stand_in_the_state_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, turns, lock = a_store(), Turns(), threading.RLock()
    assert same(turns.state(store, lock, 2), store.state_dict())
    churn(store, np.random.default_rng(0), 20)
    assert isinstance(turns.state(store, lock, 2), Part)
    assert same(turns.state(store, lock, 0), store.state_dict())   # for no checkpoint
    monkeypatch.setattr(segments, "WHOLE_UP_TO", store.shelf.num_bytes)
    assert same(turns.state(store, lock, 2), store.state_dict())


def test_a_replay_that_read_another_state_begins_its_files_anew(tmp_path: Path) -> None:
    """Rows are numbered anew by a load, so that what was known of them says nothing any more."""
    replay, other = a_replay(), a_replay()
    fill(replay, PROBLEMS[:3], [(3, 4, 5, 0), (6, 7, 8, 0)])
    fill(other, PROBLEMS[3:], [(9, 10, 11, 0), (12, 13, 14, 0)])
    for step in range(6):
        if step == 3:
            replay.load_state_dict(other.state_dict())
        folder = checkpoint.save(tmp_path / f"step_{step}", {"store": replay.growing_state(kept=1)}, {})
        assert same(read(folder), replay.state_dict())


def test_columns_are_what_they_were_after_any_changes_by_hand() -> None:
    written = dict[int, dict[str, np.ndarray]]()

    def put(kind: str, arrays: dict[str, np.ndarray]) -> int:
        written[len(written)] = {name: array.copy() for name, array in arrays.items()}
        return len(written) - 1

    files, column = NumberFiles(), np.arange(6.5 * BLOCK)
    files.write({"x": column}, put)
    column[[3, 6 * BLOCK]] = -1.0, -0.0
    files.write({"x": column}, put)
    assert written[1]["x.blocks"].tolist() == [0, 6]
    assert len(written[1]["x.values"]) == BLOCK + BLOCK // 2
    column = np.append(column, 7.0)
    files.write({"x": column}, put)
    assert written[2]["x.blocks"].tolist() == [6] and sorted(files.sizes) == [0, 1, 2]
    column[[BLOCK, 2 * BLOCK]] = -2.0   # 3 of the first file's 7 blocks are left then: they are written anew
    files.write({"x": column}, put)
    assert written[3]["x.blocks"].tolist() == [1, 2, 3, 4, 5] and sorted(files.sizes) == [1, 2, 3]
    files.write({"x": column}, put)
    assert len(written) == 4   # nothing changed
    read = dict[str, np.ndarray]()
    for number in sorted(files.sizes):
        lay_over(read, written[number])
    assert read["x"].tobytes() == column.tobytes()


def test_many_files_of_one_size_become_one_and_large_ones_are_left() -> None:
    sizes = {1: 900, 2: 700} | dict.fromkeys(range(3, 12), 20) | {12: 70, 13: 100}
    live = np.array([0, 900, 300, *[20] * 9, 70, 50])
    assert not_kept(sizes, live, limit=1000) == [2, *range(3, 12)]   # 2: mostly dead; 3 to 11: nine of 16 to 31
    assert not_kept({n: sizes[n] for n in (1, *range(3, 11), 12, 13)}, live, limit=1000) == []   # 13: half of it lives
