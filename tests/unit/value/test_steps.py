"""Rows cut into reasoning steps, states between them, and advantages a step, by hand."""

import pytest
import torch

from rrl.types import Start
from rrl.value.steps import distinct, states_at, steps_of, stepwise, walked
from tests.unit.learner.tabular import problem, scored_of

BARE = Start(problem=problem("a"))
PREFIXED = Start(problem=problem("a"), prefix=(1, 2))


class After:
    """A cut behind every token ``token``, and wherever else it is told, inside the response or not."""

    def __init__(self, token, *more):
        self.token, self.more = token, more

    def boundaries(self, attempt):
        said = attempt.response
        return sorted({t + 1 for t, x in enumerate(said) if x == self.token and t + 1 < len(said)} | set(self.more))


def test_a_step_begins_with_each_row_and_behind_each_boundary():
    scored = scored_of([(BARE, (3, 0, 4, 0)), (BARE, (0, 1)), (BARE, (4,))], [0.0] * 3)
    steps = steps_of(scored, After(0))
    assert steps.first.tolist() == [0, 2, 4, 5, 6]
    assert steps.offsets.tolist() == [0, 2, 4, 5]
    assert steps.of_actions(7).tolist() == [0, 0, 1, 1, 2, 3, 4]


def test_boundaries_inside_a_replayed_prefix_or_at_the_rows_first_action_are_left_out():
    # Boundaries of the whole response (1, 2, 0, 4): t = 1 is in the prefix, 2 is the row's beginning, 3 is inside it.
    assert steps_of(scored_of([(PREFIXED, (0, 4))], [0.0]), After(9, 1, 2, 3)).first.tolist() == [0, 1]


def test_given_tokens_belong_to_the_state_that_follows_them():
    # Action 1, then 3 and 0 are said (marked -4, -1), then actions 2 and 4.
    scored = scored_of([(BARE, (1, -4, -1, 2, 4))], [0.0])
    for boundary in (1, 2, 3):  # before, between and behind what is said: the policy acts next in the same state
        steps = steps_of(scored, After(9, boundary))
        assert steps.first.tolist() == [0, 1]
        assert [s.prefix for s in states_at(scored.rollouts.sequences, steps.first)] == [(), (1, -4, -1)]


def test_the_state_before_an_action_is_the_start_with_what_was_said_up_to_it():
    scored = scored_of([(BARE, (3, 0, 4)), (PREFIXED, (0, 4))], [0.0, 0.0])
    states = states_at(scored.rollouts.sequences, torch.tensor([0, 2, 3, 4]))
    assert [s.prefix for s in states] == [(), (3, 0), (1, 2), (1, 2, 0)]
    assert all(s.problem is BARE.problem or s.problem is PREFIXED.problem for s in states)


def test_a_prefix_walked_through_the_states_that_a_row_over_it_would_show():
    whole = (3, 0, -2, 4, 0, 1)
    start = Start(problem=problem("a"), prefix=whole)
    assert [s.prefix for s in walked(start, After(0))] == [(3, 0, -2), (3, 0, -2, 4, 0)]
    scored = scored_of([(BARE, (*whole, 4))], [0.0])
    shown = states_at(scored.rollouts.sequences, steps_of(scored, After(0)).first)
    assert [s.prefix for s in shown] == [(), (3, 0, -2), (3, 0, -2, 4, 0)]
    assert walked(BARE, After(0)) == []


def test_advantages_a_step_by_hand():
    # One row, actions 0 and 1 are a step with V = .5, action 2 one with V = .75; rewards 0, .25, 1.
    scored = scored_of([(BARE, (3, 0, 4)), (BARE, (4,))], [1.0, 0.0])
    scored.reward[1] = 0.25
    steps = steps_of(scored, After(0))
    value, success = torch.tensor([0.5, 0.75, 0.25]), torch.tensor([0.1, 0.2, 0.3])
    step_wise = stepwise(scored, steps, value, success, lam=0.0)
    # .25 + .75 - .5; 1 - .75; 0 - .25
    assert step_wise.advantage.tolist() == [0.5, 0.5, 0.25, -0.25]
    assert step_wise.value.tolist() == [0.5, 0.5, 0.75, 0.25]
    assert step_wise.success.tolist() == pytest.approx([0.1, 0.1, 0.2, 0.3])
    assert step_wise.target_return.tolist() == [1.25, 1.25, 1.0, 0.0]
    # 1.25 - .5; 1 - .75; 0 - .25
    assert stepwise(scored, steps, value, success, lam=1.0).advantage.tolist() == [0.75, 0.75, 0.25, -0.25]
    # .5 + .5 * .25
    assert stepwise(scored, steps, value, success, lam=0.5).advantage.tolist() == [0.625, 0.625, 0.25, -0.25]


def test_equal_states_are_one():
    again = Start(problem=problem("a"), prefix=(1, 2))
    states, which = distinct([PREFIXED, BARE, again, BARE])
    assert [s.key for s in states] == [PREFIXED.key, BARE.key]
    assert which.tolist() == [0, 1, 0, 1]
    assert distinct([])[0] == []
