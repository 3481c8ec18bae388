from __future__ import annotations

import numpy as np
import pytest

from rrl.replay.block_sums import BLOCK, BlockSums
from rrl.replay.crowding import Crowding, Fullest
from rrl.replay.key_index import KeyIndex
from rrl.replay.store import Store
from tests.unit.replay.builders import a_prefix, a_problem, a_store, add


def by_counting(counts: np.ndarray, after: int) -> int | None:
    """What ``Fullest.behind`` says, from all counts."""
    if not counts.any():
        return None
    fullest = np.flatnonzero(counts == counts.max())
    behind = fullest[fullest > after]
    return int(behind[0] if len(behind) else fullest[0])


def test_the_fullest_problem_comes_round_robin() -> None:
    fullest = Fullest()
    for problem, count in enumerate((2, 3, 3, 1)):
        fullest.put(problem, count)
    assert [fullest.behind(after) for after in (-1, 1, 2, 99_999)] == [1, 2, 1, 1]
    assert Fullest().behind(-1) is None and Fullest().ahead([3], -1) == []
    assert fullest.ahead([0, 3, 3], 1) == [2, 0, 1]     # 2 3 3 1 -> 3 3 2 1 -> 2 3 2 2 -> 2 2 2 3
    assert [fullest.behind(after) for after in (-1, 1, 2)] == [1, 2, 1]     # nothing stayed


def test_the_fullest_problem_is_what_counting_all_finds() -> None:
    generator, fullest, counts = np.random.default_rng(0), Fullest(), np.zeros(3000, dtype=int)
    for i in range(4000):
        problem = int(generator.integers(3000))
        if i % 3:
            change = 1 if not counts[problem] or generator.random() < 0.6 else -1
            counts[problem] += change
            fullest.add(problem, change)
        else:
            counts[problem] = int(generator.integers(5))
            fullest.put(problem, int(counts[problem]))
        after = int(generator.integers(-1, 3000))
        assert fullest.behind(after) == by_counting(counts, after)


def counted_anew(store: Store) -> Crowding:
    fresh = Crowding(max_naps=store.rules.max_naps)
    fresh.rebuild(store.shelf)
    return fresh


def test_a_stores_crowding_is_what_counting_all_finds_after_anything() -> None:
    store, generator = a_store(slots_per_problem=6, capacity=40), np.random.default_rng(0)
    problems = [a_problem(f"p{i}", max_response=50) for i in range(12)]
    for i in range(600):
        tokens = tuple(generator.integers(1, 9, int(generator.integers(1, 5))).tolist())
        prefix = a_prefix(problems[int(generator.integers(12))], tokens, value=float(generator.random()), step=i)
        add(store, prefix, done=float(generator.random()), quarantined=bool(generator.random() < 0.1))
        rows = store.shelf.all_rows()
        row = int(rows[generator.integers(len(rows))])
        if i % 5 == 0:
            store.set_kept(row, bool(generator.random() < 0.7))
        if i % 7 == 0:
            store.shelf.columns["naps"][row] = int(generator.integers(5))
            store.booked([int(store.shelf.columns["problem"][row])])
        anew = counted_anew(store)
        assert store.crowding.num_early == anew.num_early
        for protect in (True, False):
            for after in (-1, 4, 11):
                mine = store.crowding.fullest(store.shelf, protect_early=protect, after=after)
                assert mine == anew.fullest(store.shelf, protect_early=protect, after=after)


def test_a_draw_by_block_sums_is_in_proportion_by_hand() -> None:
    sums = BlockSums()
    sums.put(np.array([0, 2, BLOCK + 1]), np.array([1.0, 3.0, 4.0]))   # ends at 1/8, 4/8, 8/8
    assert sums.pick(np.array([0.0, 0.12, 0.125, 0.49, 0.5, 0.99])).tolist() == [0, 0, 2, 2, BLOCK + 1, BLOCK + 1]
    sums.put(np.array([2]), np.array([0.0]))                             # 1/5, then 5/5
    assert sums.pick(np.array([0.19, 0.2])).tolist() == [0, BLOCK + 1]
    assert BlockSums().pick(np.array([0.5])).tolist() == []


@pytest.mark.parametrize("num", [1, BLOCK, 3 * BLOCK + 5])
def test_block_sums_follow_their_weights(num: int) -> None:
    generator, sums = np.random.default_rng(0), BlockSums()
    weights = generator.random(num) * (generator.random(num) < 0.5)
    weights[0] = 1.0
    sums.put(np.arange(num), weights)
    drawn = np.bincount(sums.pick(generator.random(200_000)), minlength=num)
    assert not drawn[weights == 0].any() and drawn.sum() == 200_000
    expected = 200_000 * weights / weights.sum()
    assert np.abs(drawn - expected).max() <= 6.0 * np.sqrt(expected.max() + 1.0)


def test_a_key_finds_its_row_whatever_came_and_went() -> None:
    generator, index = np.random.default_rng(0), KeyIndex()
    keys, alive, rows = np.zeros(6000, dtype=np.uint64), np.zeros(6000, dtype=bool), dict[int, int]()
    for i in range(12_000):
        if len(rows) > 5900 or (rows and generator.random() < 0.4):
            key = list(rows)[int(generator.integers(len(rows)))] if i % 40 == 0 else next(iter(rows))
            index.remove(key, keys)
            alive[rows.pop(key)] = False
        else:
            key, row = int(generator.integers(2**63)) * 2 % 2**64, int(np.argmin(alive))
            key = key % 5000 if i % 3 == 0 else key   # neighbours, that probe through each other's slots
            if key in rows:
                continue
            keys[row], alive[row], rows[key] = key, True, row
            index.insert(np.array([row]), keys, alive)
        assert index.find(2**64 - 1, keys) is None
    assert len(rows) > 1000 and all(index.find(key, keys) == row for key, row in rows.items())
    sought = np.array([*rows, 2**64 - 1, 4999 * 2**40], dtype=np.uint64)
    assert index.find_many(sought, keys).tolist() == [*rows.values(), -1, -1]
    index.rebuild(keys, np.flatnonzero(alive))
    assert all(index.find(key, keys) == row for key, row in rows.items())


def test_many_keys_are_indexed_at_once_beside_those_that_came_and_went() -> None:
    generator, index = np.random.default_rng(1), KeyIndex()
    keys, alive = generator.permutation(9000).astype(np.uint64), np.zeros(9000, dtype=bool)   # neighbours probe on
    for first in range(0, 9000, 90):
        rows = np.arange(first, first + 90)
        alive[rows] = True
        index.insert(rows, keys, alive)
        for row in rows[::3].tolist():
            index.remove(int(keys[row]), keys)
            alive[row] = False
    assert index.find_many(keys, keys).tolist() == np.where(alive, np.arange(9000), -1).tolist()
    index.insert(np.flatnonzero(~alive), keys, np.ones(9000, dtype=bool))
    assert index.find_many(keys, keys).tolist() == list(range(9000))
