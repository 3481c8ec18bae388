from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rrl.replay.segments import Segments
from rrl.replay.store import Store
from tests.unit.replay.builders import a_prefix, a_problem, a_store, add, same

PROBLEMS = [a_problem(f"p{i}", solution=(3, 4), answer=f"a{i}", max_response=50) for i in range(7)]


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
    store.step += 1


def test_what_is_read_back_is_the_state_whatever_happened_between_the_saves(tmp_path: Path) -> None:
    store, generator, files = a_store(slots_per_problem=30, capacity=120, dedup="exact"), np.random.default_rng(0), \
        Segments(tmp_path)
    for num in (200, 1, 0, 50, 300, 7, 7, 7):
        churn(store, generator, num) if num else None
        files.save(store)
        assert same(Segments(tmp_path).load(), store.state_dict())
    store.problems.converted.clear()
    files.save(store)
    assert same(Segments(tmp_path).load(), store.state_dict())


def test_a_store_goes_on_from_what_it_read(tmp_path: Path) -> None:
    store, again, generator = a_store(), a_store(), np.random.default_rng(1)
    churn(store, generator, 50)
    Segments(tmp_path).save(store)
    files = Segments(tmp_path)
    again.load_state_dict(files.load())
    for one in (store, again):
        churn(one, np.random.default_rng(2), 20)
    files.save(again)
    assert same(Segments(tmp_path).load(), store.state_dict())


def test_a_place_taken_by_the_same_prefix_again_is_the_youngest(tmp_path: Path) -> None:
    store, files = a_store(dedup="exact"), Segments(tmp_path)
    for token in (3, 4):
        add(store, a_prefix(PROBLEMS[0], (token,)))
    files.save(store)
    store.shelf.remove(store.shelf.rows_of(0)[0])
    add(store, a_prefix(PROBLEMS[0], (3,)))   # takes the same place
    files.save(store)
    assert Segments(tmp_path).load()["shelf"]["tokens"].tolist() == [4, 3]


def test_a_folder_stays_within_a_few_times_its_store(tmp_path: Path) -> None:
    store, generator, files = a_store(slots_per_problem=100, capacity=300, dedup="exact"), np.random.default_rng(0), \
        Segments(tmp_path)
    sizes = []
    for _ in range(120):
        churn(store, generator, 8)
        files.save(store)
        sizes.append(sum(p.stat().st_size for p in tmp_path.iterdir()))
    assert max(sizes[80:]) <= 1.2 * max(sizes[40:80]) and len(list(tmp_path.iterdir())) < 250
    assert same(Segments(tmp_path).load(), store.state_dict())


def test_files_that_no_manifest_names_are_not_read_and_go(tmp_path: Path) -> None:
    store, files = a_store(), Segments(tmp_path)
    churn(store, np.random.default_rng(0), 10)
    files.save(store)
    held = store.state_dict()
    (tmp_path / "tokens_000077.npz").write_bytes(b"of a save that was killed")
    assert same(Segments(tmp_path).load(), held)
    again, later = a_store(), Segments(tmp_path)
    again.load_state_dict(later.load())
    later.save(again)
    assert not (tmp_path / "tokens_000077.npz").exists() and same(Segments(tmp_path).load(), held)


@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_file_is_refused_by_its_name(tmp_path: Path, damage: str) -> None:
    store = a_store()
    churn(store, np.random.default_rng(0), 10)
    Segments(tmp_path).save(store)
    for path in sorted(tmp_path.glob("*.npz")):
        data = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            changed = data[:-1] if damage == "cut" else data[:40] + bytes([data[40] ^ 1]) + data[41:]
            path.write_bytes(changed)
        with pytest.raises(ValueError, match=path.name):
            Segments(tmp_path).load()
        path.write_bytes(data)


def test_another_format_and_a_torn_manifest_are_refused(tmp_path: Path) -> None:
    Segments(tmp_path).save(a_store())
    path = tmp_path / "manifest.json"
    whole = path.read_text()
    for text in (whole[:20], "[]", json.dumps(json.loads(whole) | {"format": 9})):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"manifest.json.*cannot be read"):
            Segments(tmp_path).load()
