"""Rivals on known solutions: cuts of a trace, and AdaBack's search for how much of it to reveal."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from rrl import rng
from rrl.build import make
from rrl.protocols import Trial
from rrl.replay.admission.trace_cuts import TraceCuts, spread
from rrl.replay.selection.adaback import AdaBack
from tests.unit.replay.builders import (
    a_problem,
    a_replay,
    an_attempt,
    option,
    progress_at,
    same,
    some_candidates,
)


class Steps:
    """A task whose solutions end a step behind every token."""

    name, vocab_size, pad = "toy", 64, 0

    def __init__(self) -> None:
        self.asked = 0

    def steps(self, problem: Any, response: Any) -> list[int]:
        self.asked += 1
        return list(range(1, len(response)))


def cuts(task: Any, **changed: Any) -> TraceCuts:
    return TraceCuts(task=task, **{"source": "solution", "num_cuts": 8, "born_value": 0.5} | changed)


@pytest.mark.parametrize(("given_cuts", "num", "expected"), [
    ((1, 2, 3, 4), 2, [2, 4]), ((1, 2, 3, 4), 3, [2, 3, 4]), ((5, 9), 3, [5, 9]), ((1, 2, 3), 1, [3]), ((), 3, []),
])  # fmt: skip
def test_cuts_are_spread_evenly_and_the_last_one_is_among_them(given_cuts: Any, num: int, expected: list[int]) -> None:
    assert spread(given_cuts, num) == expected


def test_a_solution_is_cut_at_its_steps_once_and_whatever_the_attempt_did() -> None:
    task = Steps()
    problem = a_problem(solution=(3, 4, 5, 6, 7))
    admission = cuts(task, num_cuts=2)
    for attempt in (an_attempt(problem, (9, 9)), an_attempt(problem, (5, 6, 7), prefix=(3, 4), solved=True)):
        found = admission.propose(attempt, [], None, 3)
        assert [(p.tokens, p.origin, p.depth_frac, p.born_value) for p in found] == [
            ((3, 4), "canonical", 0.4, 0.5), ((3, 4, 5, 6), "canonical", 0.8, 0.5),
        ]  # fmt: skip
    assert task.asked == 1
    assert admission.propose(an_attempt(a_problem("q"), (9,)), [1], None, 3) == []  # no solution, nothing to reveal


def test_a_solution_longer_than_a_response_may_be_is_cut_where_one_token_is_left() -> None:
    problem = a_problem(solution=tuple(range(1, 13)), max_response=4)
    assert [len(p.tokens) for p in cuts(Steps()).propose(an_attempt(problem, (9,)), [], None, 0)] == [1, 2, 3]


def test_own_traces_are_solved_ones_from_the_bare_prompt() -> None:
    problem, admission = a_problem(), cuts(Steps(), source="solved", num_cuts=2)
    solved = an_attempt(problem, (4, 5, 6, 7), solved=True, value=[0.1, 0.2, 0.3, 0.4])
    found = admission.propose(solved, [1, 2, 3], None, 0)
    assert [(p.tokens, p.origin) for p in found] == [((4, 5), "rollout"), ((4, 5, 6), "rollout")]
    assert [p.born_value for p in found] == pytest.approx([0.3, 0.4])
    assert admission.propose(an_attempt(problem, (4, 5, 6)), [1, 2], None, 0) == []
    assert admission.propose(an_attempt(problem, (6, 7), prefix=(4, 5), solved=True), [3], None, 0) == []


@pytest.mark.parametrize(("changed", "words"), [
    ({"source": "web"}, "replay.admission.source is 'web'; expected one of: solution, solved"),
    ({"num_cuts": 0}, "num_cuts is 0"), ({"born_value": 1.5}, "born_value 1.5"),
])  # fmt: skip
def test_trace_cuts_refuses_what_it_cannot_mean(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cuts(Steps(), **changed)


# ------------------------------------------------------------------------------------------ adaback


def depths_first(selection: AdaBack, depths: list[float], problem: str = "p") -> set[float]:
    """Which of ``depths`` come first, over many draws."""
    given_states = some_candidates(value=[0.5] * len(depths))
    object.__setattr__(given_states, "depth_frac", np.array(depths))
    object.__setattr__(given_states, "problem", problem)
    draws = [selection.rank(given_states, progress_at(0), rng.generator(seed, "adaback")) for seed in range(200)]
    return {depths[int(np.argmax(ranks))] for ranks in draws}


def test_the_search_by_hand() -> None:
    selection, depths = AdaBack(threshold=0.5), [0.2, 0.4, 0.6, 0.8]
    assert depths_first(selection, depths) == set(depths)  # [0, 1]
    selection.learn([Trial("p", 0.6, 4, 1)])  # 1/4 < 1/2: reveal more, [.6, 1]
    assert depths_first(selection, depths) == {0.6, 0.8}
    selection.learn([Trial("p", 0.8, 4, 2)])  # 2/4: mastered, [0, .8]; the lower end is open again
    assert depths_first(selection, depths) == set(depths)
    selection.learn([Trial("p", 0.4, 4, 4)])  # [0, .4]
    assert depths_first(selection, depths) == {0.2, 0.4}
    assert depths_first(selection, depths, "another") == set(depths)  # each problem has its own


def test_of_two_reveals_in_one_step_the_shallower_decides_whatever_their_order() -> None:
    trials = [Trial("p", 0.2, 2, 0), Trial("p", 0.8, 2, 2), Trial("q", 0.5, 1, 1)]
    states = []
    for order in (trials, trials[::-1]):
        selection = AdaBack(threshold=0.5)
        selection.learn(order)
        states.append(selection.state_dict())
    assert same(*states) and states[0]["problems"] == ["p", "q"]
    assert states[0]["ends"].tolist() == [[0.2, 1.0], [0.0, 0.5]]


@settings(max_examples=30, deadline=None)
@given(trials=st.lists(st.builds(
    lambda problem, depth, rows, share: Trial(problem, depth, rows, round(share * rows)),
    st.sampled_from("abc"), st.floats(0.0, 1.0), st.integers(1, 16), st.floats(0.0, 1.0)), max_size=12))  # fmt: skip
def test_an_interval_stays_in_bounds_and_outlives_a_reload(trials: list[Trial]) -> None:
    selection, loaded = AdaBack(threshold=0.5), AdaBack(threshold=0.5)
    selection.learn(trials)
    state = selection.state_dict()
    low, high = state["ends"].T
    assert (low >= 0.0).all() and (low <= high).all() and (high <= 1.0).all()
    loaded.load_state_dict(state)
    assert same(loaded.state_dict(), state)


def test_replay_tells_it_what_became_of_its_picks_and_saves_what_it_learned() -> None:
    problem = a_problem(solution=(3, 4, 5, 6))

    def new() -> Any:
        return a_replay(admission="trace_cuts", selection="adaback", task=Steps(), store={"dedup": "exact"})

    replay, loaded = new(), new()
    replay.observe([an_attempt(problem, (9, 9))], progress_at(0))  # fills the store with 3, 34, 345
    failed, solved = (an_attempt(problem, (5, 6), prefix=(3, 4), solved=s) for s in (False, True))
    replay.observe([failed, failed], progress_at(1))
    assert replay.state_dict()["selection"]["ends"].tolist() == [[0.5, 1.0]]
    replay.observe([failed, solved], progress_at(2))
    assert replay.state_dict()["selection"]["ends"].tolist() == [[0.0, 0.5]]
    loaded.load_state_dict(replay.state_dict())
    assert same(loaded.state_dict(), replay.state_dict())
    assert loaded.draw(progress_at(3), 8) == replay.draw(progress_at(3), 8) != []


def test_a_mix_refuses_a_part_that_learns() -> None:
    parts = {"parts": {"adaback": option("selection", "adaback")}, "weights": {"adaback": 1.0}}
    node = option("selection", "mix") | parts
    with pytest.raises(ValueError, match=r"replay.selection.parts.adaback learns from its own picks"):
        make(node, "replay.selection")


def test_a_threshold_that_nothing_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"replay.selection.threshold is 0.0; expected a number in \(0, 1\]"):
        AdaBack(threshold=0.0)
