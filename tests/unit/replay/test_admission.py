from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rrl.build import make
from rrl.records import Candidates
from tests.unit.replay.builders import a_problem, an_attempt, option, some_candidates

P = a_problem(solution=(3, 4, 5, 6))
FIVE = an_attempt(P, (3, 4, 5, 6, 7), value=[0.1, 0.42, 0.5, 0.3, 0.45])
REPLAYED = an_attempt(P, (5, 6, 7), prefix=(3, 4), value=[0.5, 0.3, 0.45])   # V(s_2), V(s_3), V(s_4)
ALL = [1, 2, 3, 4]


def proposals(name: str, attempt: Any, *, boundaries: Any = ALL, root: Candidates | None = None, step: int = 7,
              runtime: Any = None, **changed: Any) -> list[tuple[int, ...]]:
    admission = make(option("admission", name) | changed, name, seed=0, **(runtime or {}))
    return [prefix.tokens for prefix in admission.propose(attempt, boundaries, root, step)]


def test_near_peak_cuts_at_the_earliest_boundary_within_delta_of_the_best() -> None:
    # V at t = 1..4: .42 .5 .3 .45; the start's own value (.1) is no boundary
    assert proposals("near_peak", FIVE) == [(3,)]                     # .42 >= .5 - .1
    assert proposals("near_peak", FIVE, delta=0.05) == [(3, 4)]
    assert proposals("near_peak", FIVE, boundaries=[3, 4]) == [(3, 4, 5, 6)]
    assert proposals("argmax_value", FIVE) == [(3, 4)]


def test_values_of_a_replayed_attempt_begin_at_its_boundary_state() -> None:
    assert proposals("near_peak", REPLAYED) == [(3, 4, 5, 6)]         # V(s_3) = .3, V(s_4) = .45; s_2 is the start
    assert proposals("near_peak", REPLAYED, delta=0.2) == [(3, 4, 5)]


def test_a_proposal_knows_where_it_comes_from() -> None:
    admission = make(option("admission", "first_boundary"), "replay.admission")
    fresh, replayed = (admission.propose(a, ALL, None, 7)[0] for a in (FIVE, REPLAYED))
    assert (fresh.tokens, fresh.origin, fresh.depth_frac) == ((3,), "rollout", 0.2)
    assert fresh.born_value == pytest.approx(0.42)
    assert (replayed.tokens, replayed.origin, replayed.depth_frac) == ((3, 4, 5), "replay", 0.6)
    assert replayed.parent == REPLAYED.start.key and replayed.born_step == 7


@pytest.mark.parametrize("name", ["near_peak", "argmax_value", "first_boundary", "random_cut"])
def test_solved_attempts_are_cut_only_when_asked_for(name: str) -> None:
    solved = an_attempt(P, (3, 4, 5), solved=True)
    assert proposals(name, solved, boundaries=[1, 2]) == []
    assert len(proposals(name, solved, boundaries=[1, 2], solved_too=True)) == 1
    assert proposals(name, an_attempt(P, (3,)), boundaries=[]) == []   # nowhere to cut


def test_a_random_cut_is_uniform_over_the_open_boundaries_and_the_same_for_the_same_response_and_step() -> None:
    admission = make(option("admission", "random_cut"), "replay.admission", seed=0)
    twice = [[admission.propose(REPLAYED, ALL, None, step)[0] for step in range(400)] for _ in range(2)]
    cuts, again = ([len(prefix.tokens) for prefix in prefixes] for prefixes in twice)
    assert set(cuts) == {3, 4} and abs(cuts.count(3) - 200) < 35
    assert cuts == again


def test_backstep_proposes_the_boundary_before_a_state_that_converts_in_most_tries() -> None:
    solved = an_attempt(P, (6, 7), prefix=(3, 4, 5), solved=True)
    often = some_candidates(value=[0.6], tries=[5.0], conversions=[2.6])
    admission = make(option("admission", "backstep"), "replay.admission")
    (parent,) = admission.propose(solved, ALL, often, 7)
    assert (parent.tokens, parent.born_value, parent.origin, parent.depth_frac) == ((3, 4), 0.6, "replay", 0.4)
    assert proposals("backstep", solved, root=some_candidates(value=[0.6], tries=[5.0], conversions=[2.5])) == []
    assert proposals("backstep", solved, root=some_candidates(value=[0.6], tries=[3.9], conversions=[3.9])) == []
    first = an_attempt(P, (4, 5), prefix=(3,), solved=True)
    assert proposals("backstep", first, root=often) == []              # the bare prompt is next, and is never stored
    assert proposals("backstep", FIVE) == [(3,)]                       # unsolved and fresh: as near_peak


class Oracle:
    def right_prefix(self, problem: Any) -> tuple[int, ...]:
        return problem.solution[:2]


def test_canonical_proposes_the_tasks_right_prefix_whatever_was_tried() -> None:
    runtime = {"task": Oracle()}
    admission = make(option("admission", "canonical"), "replay.admission", **runtime)
    (right,) = admission.propose(an_attempt(P, (9,), solved=True), [], None, 7)
    assert (right.tokens, right.origin, right.depth_frac, right.born_value) == ((3, 4), "canonical", 0.5, 0.5)
    assert proposals("canonical", an_attempt(a_problem("unknown"), (9,)), runtime=runtime) == []
    assert proposals("none", FIVE) == []


def test_values_may_come_as_any_float_array() -> None:
    attempt = an_attempt(P, (3, 4, 5), value=np.array([0.0, 0.9, 0.95], dtype=np.float32).tolist())
    assert proposals("near_peak", attempt, boundaries=[1, 2]) == [(3,)]
