"""A large store's picks: the laws of the small store's, from numbers that only the state and the problem name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

import rrl.replay.picker as picking
from rrl import rng
from rrl.build import make
from rrl.protocols import Noise, RowwiseSelection
from rrl.records import Candidates, Plan, Progress
from rrl.replay.draw import Mixture, pick_states, state_rows
from rrl.replay.draw_many import Groups, best_share, pick_rows
from rrl.replay.noise import RowNoise
from rrl.replay.store import Store
from tests.unit.replay.builders import a_prefix, a_problem, a_proposal, a_replay, a_store, fill, option, progress_at

NUM, STATES = 1500, 4
ROWWISE = ["gap", "learnability", "novelty", "progress", "random_state", "td_error", "thompson", "uncertainty"]


@pytest.fixture(scope="module")
def store() -> Store:
    """1,500 problems with the same four states."""
    store = a_store(dedup="exact", capacity=NUM * STATES)
    states = [a_prefix(a_problem(f"p{i}"), (3 + j,), value=(j + 1) / 6) for i in range(NUM) for j in range(STATES)]
    store.add([a_proposal(s) for s in states], done_frac=0.5, judged=lambda _: "keep", td=lambda i: 0.2 * (i % STATES))
    rows = store.shelf.all_rows().reshape(NUM, STATES)
    for name, values in {"tries": [0, 1, 3, 2], "conversions": [0, 0.5, 1, 2], "last_used": [2, 0, -1, 5],
                         "value_std": [0.1, 0.2, 0.0, 0.3], "born_value": [0.1, 0.1, 0.5, 0.3]}.items():
        store.shelf.columns[name][rows] = values
    return store


def groups_of(store: Store, num: int) -> Groups:
    numbers = np.arange(NUM)
    rows, counts = store.shelf.rows_of_many(numbers.tolist())
    return Groups(numbers, np.full(NUM, num), numbers, rows, counts)


def pairs(store: Store, rows: Sequence[int]) -> np.ndarray:
    """How often each ordered pair of states was picked."""
    first = store.shelf.flat_tokens(np.array(rows)).reshape(NUM, 2) - 3
    return np.bincount(first[:, 0] * STATES + first[:, 1], minlength=STATES**2)


@pytest.mark.parametrize("mixture", [Mixture(0.0, 0.0), Mixture(0.3, 0.3)])
@pytest.mark.parametrize("name", ROWWISE)
def test_two_states_of_a_problem_are_picked_by_the_law_of_a_small_store(
    store: Store, name: str, mixture: Mixture
) -> None:
    selection, progress = make(option("selection", name), "replay.selection"), progress_at(6)
    assert isinstance(selection, RowwiseSelection) and selection.reads is not None
    groups = groups_of(store, 2)
    at_once = pick_rows(store, groups, progress, selection=selection, reads=selection.reads, mixture=mixture,
                        max_per_problem=2, seed=0)
    singly = []
    own = np.split(groups.rows, NUM)
    for number, (rows, candidates) in enumerate(zip(own, store.candidates(own, 6), strict=True)):
        singly += rows[pick_states(candidates, 2, selection=selection, mixture=mixture, max_per_problem=2,
                                   progress=progress, generator=rng.generator(1, "test", number))].tolist()
    table = np.stack([pairs(store, at_once), pairs(store, singly)])
    table = table[:, table.sum(axis=0) > 0]
    assert table.shape[1] == 1 or stats.chi2_contingency(table).pvalue > 1e-3
    assert table.sum() == 2 * NUM


class Unsure:
    """Ranks by the value, and does not know about the best."""

    reads = ("value",)

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:
        return np.where(candidates.value > 0.6, np.nan, candidates.value)


def test_a_rank_that_is_none_comes_last_as_in_a_small_store(store: Store) -> None:
    known = {"selection": Unsure(), "mixture": Mixture(0.0, 0.0), "max_per_problem": 4}
    rows = pick_rows(store, groups_of(store, 4), progress_at(6), reads=Unsure.reads, seed=0, **known)
    assert (store.shelf.flat_tokens(rows).reshape(NUM, 4) - 3 == [2, 1, 0, 3]).all()
    own = store.candidates([np.array(store.shelf.rows_of(0), dtype=np.int64)], 6)[0]
    assert pick_states(own, 4, progress=progress_at(6), generator=rng.generator(1, "test"), **known) == [2, 1, 0, 3]


class Level:
    """Ranks the two best alike, and the others."""

    reads = ("value",)

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:
        return np.where(candidates.value > 0.4, 1.0, 0.0)


def test_of_equal_ranks_one_is_picked_at_random_and_the_other_next(store: Store) -> None:
    known = {"selection": Level(), "reads": Level.reads, "mixture": Mixture(0.0, 0.0), "max_per_problem": 4}
    rows = pick_rows(store, groups_of(store, 4), progress_at(6), seed=0, **known)
    picked = store.shelf.flat_tokens(rows).reshape(NUM, 4) - 3
    assert (np.sort(picked[:, :2]) == [2, 3]).all() and (np.sort(picked[:, 2:]) == [0, 1]).all()
    for first, of in ((picked[:, 0], 2), (picked[:, 2], 0)):
        assert stats.binomtest(int((first == of).sum()), NUM).pvalue > 1e-3


def test_of_each_problem_the_share_with_the_best_posterior_is_left(store: Store) -> None:
    groups = groups_of(store, 1)
    for share in (1.0, 0.5, 0.3, 0.01):
        some = best_share(store, groups, share)
        wanted = state_rows(store, list(range(NUM)), lambda rows: np.ones(len(rows), dtype=bool), share)
        assert some.rows.tolist() == np.concatenate(wanted).tolist()
        assert some.counts.tolist() == [len(rows) for rows in wanted]


def test_what_is_picked_of_a_problem_does_not_hang_on_the_others(store: Store) -> None:
    selection = make(option("selection", "thompson"), "replay.selection")
    known = {"selection": selection, "reads": selection.reads, "mixture": Mixture(0.2, 0.1), "max_per_problem": 2}
    whole = pick_rows(store, groups_of(store, 2), progress_at(3), seed=0, **known).reshape(NUM, 2)
    for number in (0, 7, NUM - 1):
        rows = np.array(store.shelf.rows_of(number), dtype=np.int64)
        alone = Groups(np.array([number]), np.array([1]), np.array([0]), rows, np.array([STATES]))
        assert pick_rows(store, alone, progress_at(3), seed=0, **known).tolist() == [whole[number, 0]]
    other = pick_rows(store, groups_of(store, 2), progress_at(4), seed=0, **known).reshape(NUM, 2)
    assert 0.2 < (whole == other).mean() < 0.8


@pytest.mark.parametrize(
    ("a", "b"), [(0.5, 0.5), (1.0, 1.0), (2.0, 0.3), (0.02, 2.0), (1.5, 1.2), (3.0, 7.0), (90.0, 4.0)]
)
def test_beta_numbers_are_betas(a: float, b: float) -> None:
    keys = np.random.default_rng(0).integers(0, 2**63, 20_000).astype(np.uint64)
    drawn = RowNoise(0, "test", 3, keys).beta(np.full(len(keys), a), np.full(len(keys), b))
    assert stats.kstest(drawn, stats.beta(a, b).cdf).pvalue > 1e-3


def test_a_states_numbers_are_its_own_call_by_call() -> None:
    keys = np.arange(500, dtype=np.uint64) * 977
    a, b = np.linspace(1e-6, 5.0, 500), np.linspace(4.0, 1e-6, 500)
    some = np.arange(0, 500, 7)
    whole, part = RowNoise(0, "test", 3, keys), RowNoise(0, "test", 3, keys[some])
    for _ in range(2):
        assert whole.beta(a, b)[some].tolist() == part.beta(a[some], b[some]).tolist()
        assert whole.random((500, 1))[some].tolist() == part.random((len(some), 1)).tolist()
    drawn = whole.beta(a, b)
    assert np.isfinite(drawn).all() and drawn.min() >= 0.0 and drawn.max() <= 1.0
    assert abs(np.corrcoef(whole.random(500), whole.random(500))[0, 1]) < 0.15


@pytest.mark.parametrize("selection", ["thompson", "value_softmax"])   # row by row, and a call a problem
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_a_host_that_chose_the_problem_gets_what_a_large_store_draws(
    selection: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "RACE_UP_TO", 3)
    replay = a_replay(schedule=("constant", {"rho": 1.0}), max_replay_frac=1.0, selection=selection, eps_stale=0.2)
    problems = [a_problem(f"p{i}") for i in range(9)]
    fill(replay, problems, [(3, 9), (4, 9), (5, 9), (6, 9), (7, 9)])
    plan = Plan(fraction=1.0, eligible_frac=share, depth_max=1.0)
    monkeypatch.setattr(replay._schedule, "plan", lambda _: plan)
    seen = set[tuple[int, ...]]()
    for step in range(25):
        drawn = replay.draw(progress_at(step), 12)
        assert len(drawn) == 12 == len({(s.problem.id, s.prefix) for s in drawn})
        for start in {s.problem.id: s for s in reversed(drawn)}.values():
            assert replay.start(start.problem, progress_at(step)) == start
            seen.add(start.prefix)
    assert len(seen) == 5 if share == 1.0 else seen == {(3,), (4,)}   # equal posteriors: the oldest two
    replay.store.problems.columns["parked"][4] = True
    assert not replay.start(problems[4], progress_at(0)).replayed


def test_a_host_of_a_large_store_hears_that_all_scores_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "RACE_UP_TO", 3)
    replay = a_replay(schedule=("constant", {"rho": 1.0}), max_replay_frac=1.0)
    problem = a_problem("p")
    fill(replay, [problem, a_problem("q")], [(3, 9), (4, 9)])
    with pytest.raises(ValueError, match="call replay.rescore before draw"):
        replay.start(problem, progress_at(99))
    replay.store.shelf.columns["score_step"][replay.store.shelf.rows_of(1)] = 99
    assert not replay.start(problem, progress_at(99)).replayed
