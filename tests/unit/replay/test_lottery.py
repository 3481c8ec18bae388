from __future__ import annotations

import numpy as np
import pytest

import rrl.replay.picker as picking
from rrl.replay.lottery import Lottery
from rrl.replay.replay import Replay
from tests.unit.replay.builders import a_problem, a_replay, fill, progress_at

PROBLEMS = [a_problem(f"p{i}") for i in range(4)]


class ByNumber:
    """Weights 1, .5, .25, .25 through the success rates that the test sets."""

    def weight(self, root_success: np.ndarray, replays: np.ndarray) -> np.ndarray:
        return 1.0 - root_success


def a_large(**changed: object) -> Replay:
    replay = a_replay(schedule=("constant", {"rho": 1.0}), max_replay_frac=1.0, **changed)  # type: ignore[arg-type]
    fill(replay, PROBLEMS, [(3, 9), (4, 9), (5, 9)])
    return replay


def test_two_picks_have_the_law_of_the_race() -> None:
    # As in test_draw: with replacement at weights 1 and .25 -> twice p0 .64, one of each .32, twice p1 .04.
    replay, lottery = a_large(), Lottery()
    store = replay.store
    store.problems.columns["root_success"][:4] = [0.0, 0.75, 1.0, 1.0]
    lottery.refresh(store, ByNumber())
    pairs = []
    for step in range(3000):
        picks = lottery.pick(store, lambda rows: np.ones(len(rows), dtype=bool), 2, seed=0, step=step,
                             max_per_problem=2, eligible_frac=1.0)
        assert picks is not None
        pairs.append(sorted(number for number, times in picks.picks for _ in range(times)))
    share = [np.mean([pair == want for pair in pairs]) for want in ([0, 0], [0, 1], [1, 1])]
    np.testing.assert_allclose(share, [0.64, 0.32, 0.04], atol=0.027)


def test_nobody_gives_more_than_is_eligible_and_parked_problems_give_nothing() -> None:
    replay, lottery = a_large(), Lottery()
    store = replay.store
    store.problems.columns["parked"][3] = True
    lottery.refresh(store, ByNumber())
    first = {row for n in range(3) for row in store.shelf.rows_of(n)[:1]}
    picks = lottery.pick(store, lambda rows: np.isin(rows, list(first)), 3, seed=0, step=0, max_per_problem=2,
                         eligible_frac=1.0)
    assert picks is not None and sorted(picks.picks) == [(0, 1), (1, 1), (2, 1)]
    assert sorted(picks.rows.tolist()) == sorted(first)
    assert lottery.pick(store, lambda rows: np.zeros(len(rows), dtype=bool), 3, seed=0, step=0, max_per_problem=2,
                        eligible_frac=1.0) is None


def test_a_large_store_draws_what_it_draws_after_a_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "RACE_UP_TO", 3)
    replay, loaded = a_large(), a_large(seed=0)
    drawn = [replay.draw(progress_at(step), 6) for step in range(5)]
    assert all(len(starts) == 6 and all(s.replayed for s in starts) for starts in drawn)
    loaded.load_state_dict(replay.state_dict())
    assert [loaded.draw(progress_at(step), 6) for step in range(5)] == drawn
    for step, starts in enumerate(drawn):   # which state of a problem is as ever f(store, seed, step, problem)
        firsts = {s.problem.id: s for s in reversed(starts)}
        assert all(replay.start(s.problem, progress_at(step)) == s for s in firsts.values())


def test_where_hardly_anybody_is_eligible_the_race_reads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "RACE_UP_TO", 3)
    replay = a_large()
    replay.store.shelf.columns["sleep_until"][replay.store.shelf.all_rows()[1:]] = 99
    assert [s.prefix for s in replay.draw(progress_at(0), 6)] == [(3,)]
