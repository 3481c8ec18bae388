"""Group-mean baselines: a group is the rows of one start."""

import math

import numpy as np
import pytest
import torch

from rrl.types import Start
from rrl.value.group_mean import GroupMean
from tests.unit.learner.tabular import SoloRanks, ThreadRanks, problem, progress, scored_of

BARE = Start(problem=problem("a"))
GOOD = Start(problem=problem("a"), prefix=(1,))
BAD = Start(problem=problem("a"), prefix=(2,))


def estimator(ranks=None, kappa=2.0, decay=1.0):
    return GroupMean(ranks=ranks or SoloRanks(), kappa=kappa, decay=decay)


def test_the_advantage_is_the_return_minus_the_groups_mean():
    scored = scored_of([(BARE, (1, 2)), (BARE, (3,)), (BARE, (4,))], [1.0, 0.0, 0.5])
    estimated = estimator().estimate(scored)
    assert estimated.advantage.tolist() == [0.5, 0.5, -0.5, 0.0]
    assert estimated.value.tolist() == [0.5] * 4
    assert estimated.target_return.tolist() == [1.0, 1.0, 0.0, 0.5]


def test_two_prefixes_of_one_problem_are_two_groups():
    scored = scored_of([(GOOD, (1,)), (BAD, (1,)), (GOOD, (2,)), (BAD, (2,))], [1.0, 0.0, 1.0, 0.0])
    assert estimator().estimate(scored).advantage.tolist() == [0.0] * 4


@pytest.mark.parametrize("score", [0.1, 1.0, -0.3])
def test_equal_rewards_give_exactly_zero(score):
    scored = scored_of([(BARE, (1, 2)), (BARE, (3,)), (BARE, (4, 4, 4))], [score] * 3)
    assert estimator().estimate(scored).advantage.tolist() == [0.0] * 6


def test_a_group_of_one_is_zero_and_finite():
    assert estimator().estimate(scored_of([(BARE, (1, 2))], [1.0])).advantage.tolist() == [0.0, 0.0]


def test_a_group_that_is_split_over_ranks_has_one_mean():
    def work(scores):
        scored = scored_of([(BARE, (1,))] * len(scores), scores)
        return lambda ranks: estimator(ranks).estimate(scored).advantage.tolist()

    assert ThreadRanks.together([work([1.0]), work([0.0, 0.0, 1.0])]) == [[0.5], [-0.5, -0.5, 0.5]]


def test_before_any_outcome_success_is_a_half():
    mean, std = estimator().success([BARE, GOOD])
    assert mean.tolist() == [0.5, 0.5]
    assert std.tolist() == pytest.approx([math.sqrt(0.25 / 3)] * 2)  # Beta(1, 1)... worth kappa = 2 tries


def test_success_shrinks_from_start_to_problem_to_run():
    value = estimator()
    scored = scored_of([(BARE, (1,))] * 4 + [(GOOD, (1,))] * 2, [1.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    value.fit(value.estimate(scored), progress())
    run = (1 + 2 * 0.5) / (4 + 2)          # fresh rows only: 1 of 4
    bare = (1 + 2 * run) / (4 + 2)
    good = (2 + 2 * bare) / (2 + 2)
    mean, std = value.success([BARE, GOOD, BAD, Start(problem=problem("new"))])
    assert mean.tolist() == pytest.approx([bare, good, bare, run])
    assert std[1] == pytest.approx(math.sqrt(good * (1 - good) / 5))


def test_success_in_a_row_is_what_was_believed_before_its_outcome():
    value = estimator()
    first = value.estimate(scored_of([(BARE, (1, 2))], [1.0]))
    assert first.success.tolist() == [0.5, 0.5]
    value.fit(first, progress())
    assert value.estimate(scored_of([(BARE, (1, 2))], [1.0])).success[0].item() > 0.5


def test_old_tries_fade():
    value = estimator(decay=0.5)
    for scores in ([0.0, 0.0], [1.0]):
        value.fit(value.estimate(scored_of([(GOOD, (1,))] * len(scores), scores)), progress())
    # tries 2, then 2 * .5 + 1 = 2; solved 0, then 1
    assert value.success([GOOD])[0].tolist() == pytest.approx([(1 + 2 * 0.5) / (2 + 2)])


def test_row_order_cannot_matter():
    rows, scores = [(BARE, (1,)), (GOOD, (1,)), (BARE, (2,))], [1.0, 0.0, 0.0]
    left, right = estimator(decay=0.9), estimator(decay=0.9)
    left.fit(left.estimate(scored_of(rows, scores)), progress())
    right.fit(right.estimate(scored_of(rows[::-1], scores[::-1])), progress())
    np.testing.assert_array_equal(left.success([BARE, GOOD])[0], right.success([BARE, GOOD])[0])


def test_two_ranks_count_as_one():
    rows, scores = [(BARE, (1,)), (BARE, (1,)), (GOOD, (1,))], [1.0, 0.0, 1.0]
    solo = estimator(decay=0.9)
    metrics = solo.fit(solo.estimate(scored_of(rows, scores)), progress())

    def work(part):
        def on(ranks):
            value = estimator(ranks, decay=0.9)
            got = value.fit(value.estimate(scored_of(rows[part], scores[part])), progress())
            return got, value.success([BARE, GOOD])[0].tolist()
        return on

    for got, mean in ThreadRanks.together([work(slice(0, 1)), work(slice(1, 3))]):
        assert got == pytest.approx(metrics)
        assert mean == solo.success([BARE, GOOD])[0].tolist()


def test_saved_and_loaded_it_believes_the_same():
    value, other = estimator(), estimator()
    value.fit(value.estimate(scored_of([(BARE, (1,)), (GOOD, (2,))], [1.0, 0.0])), progress())
    other.load_state_dict(value.state_dict())
    assert other.success([BARE, GOOD])[0].tolist() == value.success([BARE, GOOD])[0].tolist()
    empty = estimator()
    empty.load_state_dict(estimator().state_dict())
    assert empty.success([BARE])[0].tolist() == [0.5]


def test_no_rows_are_no_trouble():
    scored = scored_of([(BARE, (1,))], [1.0]).rows(torch.zeros(0, dtype=torch.int64))
    assert estimator().estimate(scored).advantage.tolist() == []


def test_impossible_numbers_are_refused_by_their_key():
    with pytest.raises(ValueError, match="value.kappa is 0"):
        estimator(kappa=0.0)
    with pytest.raises(ValueError, match="value.decay is 1.5"):
        estimator(decay=1.5)
