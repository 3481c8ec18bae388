from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rrl.records import Candidates, Progress
from rrl.replay.draw import Mixture, pick_problems, pick_states, problem_weights
from rrl.replay.problem_weight.root_gap import RootGap
from rrl.replay.replay import Replay
from rrl.types import Problem, Start
from tests.unit.replay.builders import a_problem, a_replay, an_attempt, fill, progress_at, row_of, same, some_candidates

PROBLEMS = [a_problem(f"p{i}") for i in range(6)]
P = PROBLEMS[0]


def constant(rho: float) -> tuple[str, dict[str, float]]:
    return ("constant", {"rho": rho})


def keys(starts: Sequence[Start]) -> list[tuple[str, int]]:
    return [(s.problem.id, s.prefix[0]) for s in starts]


def column(replay: Replay, problem: Problem, token: int, name: str, value: float) -> None:
    replay.store.shelf.columns[name][row_of(replay.store, problem, (token,))] = value


def first_tokens(replay: Replay, steps: int, num_starts: int = 2) -> np.ndarray:
    """How often each first token is drawn in ``steps`` draws of half of ``num_starts``."""
    drawn = [s.prefix[0] for step in range(steps) for s in replay.draw(progress_at(step), num_starts)]
    return np.bincount(drawn, minlength=10)


# ------------------------------------------------------------------------------------------ how many


@pytest.mark.parametrize(("num_tokens", "expected"), [(0, 0), (1, 1), (3, 2)])
def test_a_short_store_gives_fewer_starts_and_never_one_state_twice(num_tokens: int, expected: int) -> None:
    replay = a_replay()
    fill(replay, [P], [(3 + i, 9) for i in range(num_tokens)])
    for step in range(30):
        drawn = replay.draw(progress_at(step), 16)   # asks for 8; one problem gives at most 2
        assert len(drawn) == expected and len(set(keys(drawn))) == expected


def test_the_replayed_share_is_the_plans_floored_and_at_most_half_of_the_batch() -> None:
    replay = a_replay(schedule=constant(0.29))
    fill(replay, [a_problem(f"p{i}") for i in range(60)], [(3, 9), (4, 9)])
    assert len(replay.draw(progress_at(0), 100)) == 29   # although .29 x 100 < 29 in binary
    assert len(replay.draw(progress_at(0), 10)) == 2
    greedy = a_replay(schedule=constant(0.9))
    fill(greedy, [a_problem(f"p{i}") for i in range(60)], [(3, 9), (4, 9)])
    assert len(greedy.draw(progress_at(0), 100)) == 50


def test_schedule_none_draws_nothing_and_starts_fresh() -> None:
    replay = a_replay(schedule=("none", {}))
    fill(replay, PROBLEMS, [(3, 9)])
    assert replay.draw(progress_at(0), 128) == []
    assert replay.start(P, progress_at(0)) == Start(problem=P)


# ------------------------------------------------------------------------------------------ purity


def test_the_same_draw_twice_is_the_same_and_changes_nothing() -> None:
    replay = a_replay()
    fill(replay, PROBLEMS, [(3, 9), (4, 9), (5, 9)])
    before = replay.state_dict()
    assert replay.draw(progress_at(3), 12) == replay.draw(progress_at(3), 12)
    replay.start(P, progress_at(3))
    replay.converted(P)
    replay.lessons([an_attempt(P, (7, 7), prefix=(3,), solved=True)])
    assert same(replay.state_dict(), before)
    draws = {tuple(keys(replay.draw(progress_at(step), 12))) for step in range(20)}
    assert len(draws) > 15   # other steps, other draws


def test_another_seed_draws_others() -> None:
    one, other = a_replay(seed=0), a_replay(seed=1)
    for replay in (one, other):
        fill(replay, PROBLEMS, [(3, 9), (4, 9), (5, 9)])
    draws = [[keys(replay.draw(progress_at(step), 8)) for step in range(5)] for replay in (one, other)]
    assert draws[0] != draws[1]


def test_a_problems_state_does_not_depend_on_which_other_problems_are_stored() -> None:
    alone, crowded = a_replay(schedule=constant(1.0)), a_replay(schedule=constant(1.0))
    fill(alone, [P], [(3, 9), (4, 9), (5, 9)])
    fill(crowded, PROBLEMS, [(3, 9), (4, 9), (5, 9)])
    for step in range(40):
        mine = keys(alone.draw(progress_at(step), 4))
        theirs = [k for k in keys(crowded.draw(progress_at(step), 24)) if k[0] == "p0"]
        assert len(mine) == 2 and mine == theirs


def test_a_host_that_chose_the_problem_gets_the_state_that_draw_gives() -> None:
    replay = a_replay(max_replay_frac=1.0, schedule=constant(1.0))
    fill(replay, PROBLEMS, [(3, 9), (4, 9), (5, 9)])
    for step in range(20):
        drawn = replay.draw(progress_at(step), 12)   # all problems, two states each
        for problem in PROBLEMS:
            firsts = [s for s in drawn if s.problem.id == problem.id]
            assert replay.start(problem, progress_at(step)) == firsts[0]


def test_a_host_replays_a_problem_with_the_plans_probability() -> None:
    replay = a_replay(schedule=constant(0.3), max_score_age=1000)
    fill(replay, [P], [(3, 9)])
    share = np.mean([replay.start(P, progress_at(step)).replayed for step in range(1000)])
    assert share == pytest.approx(0.3, abs=0.045)   # three standard errors
    assert not replay.start(PROBLEMS[1], progress_at(0)).replayed   # never seen


def test_a_reloaded_replay_draws_the_same() -> None:
    replay, loaded = a_replay(), a_replay()
    fill(replay, PROBLEMS, [(3, 9), (4, 9), (5, 9)])
    loaded.load_state_dict(replay.state_dict())
    assert same(loaded.state_dict(), replay.state_dict())
    for step in range(10):
        assert loaded.draw(progress_at(step), 12) == replay.draw(progress_at(step), 12)


# ------------------------------------------------------------------------------------------ laws


def picked_problems(weights: Sequence[float], num: int, steps: int) -> list[list[int]]:
    """The problem numbers of ``num`` picks in each of ``steps`` steps, at most two of each."""
    replay = a_replay()
    fill(replay, PROBLEMS[: len(weights)], [(3, 9), (4, 9)])
    numbers, counts = np.arange(len(weights)), np.full(len(weights), 2)
    drawn = [pick_problems(replay.store, numbers, counts, np.array(weights), num, seed=0, step=step, max_per_problem=2)
             for step in range(steps)]
    return [sorted(number for number, times in picks for _ in range(times)) for picks in drawn]


def test_problems_are_drawn_in_proportion_to_their_weights() -> None:
    drawn = [picked[0] for picked in picked_problems([1.0, 0.4, 0.2], 1, 3000)]
    np.testing.assert_allclose(np.bincount(drawn) / 3000, [1 / 1.6, 0.4 / 1.6, 0.2 / 1.6], atol=0.027)


def test_a_second_state_of_a_problem_competes_with_its_full_weight_again() -> None:
    # Two picks with replacement at weights 1 and .25: p0 twice .8 x .8, p1 twice .2 x .2, one of each the rest.
    pairs = picked_problems([1.0, 0.25], 2, 3000)
    share = [np.mean([pair == want for pair in pairs]) for want in ([0, 0], [0, 1], [1, 1])]
    np.testing.assert_allclose(share, [0.64, 0.32, 0.04], atol=0.027)


def test_weights_of_problems_come_from_their_gap_and_their_replays() -> None:
    replay = a_replay()
    fill(replay, PROBLEMS[:3], [(3, 9)])
    p = replay.store.problems.columns
    p["root_success"][:3], p["replays"][:3] = (0.0, 0.2, 0.4), (0, 3, 8)
    numbers, counts, weights = problem_weights(replay.store, replay.store.open_places(0), RootGap())
    assert (numbers.tolist(), counts.tolist()) == ([0, 1, 2], [1, 1, 1])
    np.testing.assert_allclose(weights, [1.0, 0.4, 0.2])    # 1, .8 / 2, .6 / 3


def picked_states(replay: Replay, candidates: Candidates, steps: int, mixture: Mixture) -> np.ndarray:
    """How often each state comes first."""
    firsts = [
        pick_states(candidates, 1, selection=replay._selection, mixture=mixture, max_per_problem=2,
                    progress=progress_at(0), generator=np.random.default_rng(step))[0]
        for step in range(steps)
    ]
    return np.bincount(firsts, minlength=len(candidates)) / steps


def test_the_mixture_of_selection_uniform_and_stale_has_its_shares() -> None:
    # gap ranks the first highest: .5 gap + .3 uniform (a third each) + .2 stale (idle 1, 2, 7).
    shares = picked_states(a_replay(selection="gap"), some_candidates(value=[0.9, 0.5, 0.1], idle=[1, 2, 7]), 3000,
                           Mixture(eps_uniform=0.3, eps_stale=0.2))
    np.testing.assert_allclose(shares, [0.5 + 0.1 + 0.02, 0.1 + 0.04, 0.1 + 0.14], atol=0.027)


def test_equal_ranks_are_broken_at_random() -> None:
    shares = picked_states(a_replay(selection="gap"), some_candidates(value=[0.5, 0.5, 0.5]), 2000, Mixture(0.0, 0.0))
    np.testing.assert_allclose(shares, [1 / 3] * 3, atol=0.033)


def test_the_first_pick_does_not_depend_on_how_many_follow() -> None:
    replay, candidates = a_replay(), some_candidates(value=[0.9, 0.5, 0.1], idle=[1, 2, 7])
    for step in range(50):
        one, two = (
            pick_states(candidates, num, selection=replay._selection, mixture=Mixture(0.3, 0.3), max_per_problem=2,
                        progress=progress_at(0), generator=np.random.default_rng(step))
            for num in (1, 2)
        )
        assert one == two[:1] and len(set(two)) == 2


def test_only_the_best_eligible_share_of_a_problem_is_drawn() -> None:
    plan = {"eligible_min": 0.5, "w_progress": 1.0, "rho_max": 0.5, "depth_first": 1.0, "depth_last": 1.0}
    replay = a_replay(schedule=("dynamic", plan), eps_uniform=1.0, max_score_age=10_000)
    fill(replay, [P], [(3 + i, 9) for i in range(4)])
    for token, value in ((3, 0.1), (4, 0.9), (5, 0.2), (6, 0.8)):
        column(replay, P, token, "value", value)
    counts = first_tokens(replay, 100)
    assert counts[[3, 5]].sum() == 0 and counts[4] > 30 and counts[6] > 30


def test_states_deeper_than_the_plan_allows_are_not_drawn() -> None:
    plan = {"w_progress": 1.0, "rho_max": 0.5, "depth_first": 0.5, "depth_last": 0.5}
    replay = a_replay(schedule=("dynamic", plan), max_score_age=10_000)
    fill(replay, [P], [(3, 9), (4, 9, 9, 9)])   # t/T = .5 and .25
    column(replay, P, 3, "depth_frac", 0.51)
    counts = first_tokens(replay, 50)
    assert counts[3] == 0 and counts[4] == 50


# ------------------------------------------------------------------------------------------ traps


def run_steps(replay: Replay, steps: range, wins: dict[int, bool]) -> dict[int, list[int]]:
    """Draw and observe, with outcomes by first token; the steps at which each token was replayed."""
    used: dict[int, list[int]] = {token: [] for token in wins}
    for step in steps:
        starts = replay.draw(progress_at(step), 4)
        for start in starts:
            used[start.prefix[0]].append(step)
        replay.observe([an_attempt(s.problem, (9,), prefix=s.prefix, solved=wins[s.prefix[0]]) for s in starts],
                       progress_at(step))
    return used


def test_a_dead_state_that_the_critic_overrates_sleeps_and_one_conversion_restores_it() -> None:
    replay = a_replay(selection="value_topk", eps_uniform=0.0, max_score_age=10_000, max_per_problem=1)
    fill(replay, [P], [(3 + i, 9) for i in range(4)])
    column(replay, P, 3, "value", 0.99)
    dead = dict.fromkeys(range(3, 7), False)
    used = run_steps(replay, range(60), dead)
    assert used[3] == list(range(16))                       # top of the ranking, until it sleeps: steps 16..65
    assert run_steps(replay, range(60, 66), dead)[3] == []
    woken = run_steps(replay, range(66, 67), dead | {3: True})
    assert woken[3] == [66]                                 # awake, on top again, and now it converts
    assert replay.store.shelf.columns["naps"][row_of(replay.store, P, (3,))] == 0
    assert run_steps(replay, range(67, 82), dead)[3] == list(range(67, 82))


def test_ranks_follow_a_new_value_after_rescoring_and_old_scores_are_refused() -> None:
    replay = a_replay(selection="gap", eps_uniform=0.0, max_score_age=20)
    fill(replay, [P], [(3, 9), (4, 9)], step=0)

    def judge(best: int) -> None:
        replay.rescore(lambda starts: (np.array([0.9 if s.prefix == (best,) else 0.1 for s in starts]),
                                       np.zeros(len(starts))), at)

    at: Progress = progress_at(1)
    judge(3)
    assert replay.draw(at, 2)[0].prefix == (3,)
    at = progress_at(6)
    judge(4)
    assert replay.draw(at, 2)[0].prefix == (4,)
    with pytest.raises(ValueError, match="at most max_score_age = 20: call replay.rescore before draw"):
        replay.draw(progress_at(27), 2)


def test_a_reopened_problem_waits_for_its_scores_and_does_not_stop_the_run() -> None:
    replay = a_replay(max_score_age=20)
    fill(replay, PROBLEMS[:2], [(3, 9)], step=0)
    parked = replay.store.problems.columns["parked"]
    parked[:2] = True
    replay.rescore(lambda starts: (np.zeros(len(starts)), np.zeros(len(starts))), progress_at(40))
    parked[1] = False   # its score is of step 0 until the next re-scoring
    assert replay.draw(progress_at(41), 4) == []
    replay.rescore(lambda starts: (np.zeros(len(starts)), np.zeros(len(starts))), progress_at(45))
    assert keys(replay.draw(progress_at(45), 4)) == [("p1", 3)]


def test_a_single_old_score_keeps_only_its_own_state_out() -> None:
    replay = a_replay(max_score_age=20, eps_uniform=1.0)
    fill(replay, [P], [(3, 9), (4, 9)], step=0)
    column(replay, P, 4, "score_step", 30)
    assert all(replay.draw(progress_at(step), 2)[0].prefix == (4,) for step in range(30, 50))


def test_rescoring_asks_for_open_states_and_their_bare_problems_every_five_steps() -> None:
    replay = a_replay()
    fill(replay, PROBLEMS[:2], [(3, 9)])
    replay.store.problems.columns["parked"][1] = True
    asked: list[list[tuple[str, tuple[int, ...]]]] = []

    def success(starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        asked.append([(s.problem.id, s.prefix) for s in starts])
        return np.array([0.2, 0.7]), np.array([0.0, 0.05])

    for step in range(11):
        replay.rescore(success, progress_at(step))
    assert asked == [[("p0", ()), ("p0", (3,))]] * 3   # steps 0, 5, 10
    c, row = replay.store.shelf.columns, row_of(replay.store, P, (3,))
    assert (c["value"][row], c["value_std"][row], c["score_step"][row], c["born_value"][row]) == (0.7, 0.05, 10, 0.5)
    assert replay.store.problems.columns["root_value"][0] == 0.2


def test_values_outside_the_unit_interval_are_refused() -> None:
    replay = a_replay()
    fill(replay, [P], [(3, 9)])
    with pytest.raises(ValueError, match=r"success of 2 starts lies in \[0.5, 1.5\]; expected calibrated"):
        replay.rescore(lambda starts: (np.array([0.5, 1.5]), np.zeros(2)), progress_at(0))


@pytest.mark.parametrize(("changed", "expected"), [
    ({"rescore_every": 60}, "replay.rescore_every is 60 and max_score_age 50"),
    ({"eps_uniform": 0.9, "eps_stale": 0.2}, "replay.eps_uniform is 0.9 and eps_stale 0.2"),
    ({"max_per_problem": 0}, "replay.max_per_problem is 0; expected >= 1"),
    ({"max_replay_frac": 1.1}, "replay.max_replay_frac is 1.1"),
    ({"posterior_decay": 0.0}, "replay.posterior_decay is 0.0"),
    ({"max_credits": -1}, "replay.max_credits is -1"),
])
def test_impossible_numbers_are_refused_by_name(changed: dict[str, float], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        a_replay(**changed)
