"""Values from a judge of states, by hand on a scripted judge."""

import numpy as np
import pytest

from rrl.types import Start
from rrl.value.judged import Judged
from rrl.value.platt import fitted
from tests.unit.learner.tabular import SoloRanks, ThreadRanks, estimated_of, problem, scored_of
from tests.unit.value.test_steps import After

BARE = Start(problem=problem("a"))
LOG3 = float(np.log(3.0))
SCORES = {(): 0.0, (3, 0): LOG3, (3, 0, 4, 0): -LOG3, (1, 0): -LOG3}


class Judge:
    def __init__(self, scores=SCORES):
        self.scores, self.asked = scores, []

    def __call__(self, states):
        self.asked.append([s.prefix for s in states])
        return np.array([self.scores[s.prefix] for s in states])


def judged(judge=None, ranks=None, reduce="last", lam=0.0, score_range=(0.0, 1.0)):
    return Judged(score=judge or Judge(), cut=After(0), reduce=reduce, lam=lam, window=100, score_range=score_range,
                  ranks=ranks or SoloRanks())


def after(*prefix):
    return Start(problem=problem("a"), prefix=prefix)


def test_a_score_is_log_odds_until_something_is_known_and_steps_are_paid_what_they_add():
    estimated = judged().estimate(scored_of([(BARE, (3, 0, 4, 0, 1))], [1.0]))
    # P = 1/2, 3/4, 1/4 before the steps: they add 1/4, -1/2, and 1 - 1/4 for the solved end.
    assert estimated.success.tolist() == pytest.approx([0.5, 0.5, 0.75, 0.75, 0.25])
    assert estimated.advantage.tolist() == pytest.approx([0.25, 0.25, -0.5, -0.5, 0.75])
    wide = judged(score_range=(-1.0, 3.0), lam=1.0).estimate(scored_of([(BARE, (3, 0, 4, 0, 1))], [3.0]))
    assert wide.value.tolist() == pytest.approx([1.0, 1.0, 2.0, 2.0, 0.0])
    assert wide.advantage.tolist() == pytest.approx([2.0, 2.0, 1.0, 1.0, 3.0])


def test_the_least_of_the_steps_so_far_is_what_a_process_model_says():
    value = judged(reduce="min")
    scored = scored_of([(BARE, (3, 0, 4, 0, 1)), (after(3, 0, 4, 0), (2,))], [1.0, 0.0])
    assert value.estimate(scored).success.tolist() == pytest.approx([0.5, 0.5, 0.75, 0.75, 0.25, 0.25])
    # A good step after a bad one does not heal it; the bare prompt, which is no step, does not count.
    judge = Judge({(): -LOG3, (3, 0): -LOG3, (3, 0, 4, 0): LOG3, (1, 0): 0.0})
    mean, std = judged(judge, reduce="min").success([BARE, after(3, 0), after(3, 0, 4, 0), after(1, 0)])
    assert mean.tolist() == pytest.approx([0.25, 0.25, 0.25, 0.5]) and std.tolist() == [0.0] * 4
    assert judged(judge).success([after(3, 0, 4, 0)])[0].tolist() == pytest.approx([0.75])


def test_each_state_is_judged_once_an_estimate_and_not_again_for_the_fit():
    judge = Judge()
    value = judged(judge)
    estimated = value.estimate(scored_of([(BARE, (3, 0, 1)), (BARE, (2,)), (BARE, (3, 0, 2))], [1.0, 0.0, 0.0]))
    assert judge.asked == [[(), (3, 0)]]
    value.fit(estimated)
    assert len(judge.asked) == 1
    judged(judge).fit(estimated)  # one that was not asked before has to look
    assert judge.asked[1:] == [[(), (3, 0)]]


def test_it_is_calibrated_on_fresh_rows_each_of_them_counting_once():
    rows, scores = [(BARE, (3, 0, 1)), (BARE, (2,)), (after(1, 0), (2,))], [1.0, 0.0, 1.0]
    value = judged()
    metrics = value.fit(value.estimate(scored_of(rows, scores)))
    slope, offset = fitted(np.array([0.0, LOG3, 0.0]), np.array([1.0, 1.0, 0.0]), np.array([0.5, 0.5, 1.0]))
    assert (metrics["value/score_slope"], metrics["value/score_offset"]) == (slope, offset) != (1.0, 0.0)
    assert metrics["value/brier_fresh"] == pytest.approx((0.25 + 0.25 + 0.0625 + 0.25) / 4)  # as it was before
    assert value.success([after(3, 0)])[0] == pytest.approx([1 / (1 + np.exp(-slope * LOG3 - offset))])
    twin = judged()
    twin.load_state_dict(value.state_dict())
    assert twin.success([BARE, after(1, 0)])[0].tolist() == value.success([BARE, after(1, 0)])[0].tolist()


def test_a_step_of_replayed_rows_only_changes_nothing():
    value = judged()
    metrics = value.fit(value.estimate(scored_of([(after(1, 0), (2,))], [1.0])))
    assert (metrics["value/score_slope"], metrics["value/score_offset"]) == (1.0, 0.0)


def test_ranks_share_one_calibration():
    rows, scores = [(BARE, (3, 0, 1)), (BARE, (2,)), (after(1, 0), (2,))], [1.0, 0.0, 1.0]
    solo = judged()
    expected = solo.fit(solo.estimate(scored_of(rows, scores)))

    def rank(part):
        def work(ranks):
            value = judged(ranks=ranks)
            return value.fit(value.estimate(scored_of(rows[part], scores[part])))

        return work

    for got in ThreadRanks.together([rank(slice(0, 1)), rank(slice(1, 3))]):
        assert got == pytest.approx(expected)


def test_scores_that_are_no_numbers_stop_the_run():
    with pytest.raises(FloatingPointError, match="1 of 1 scores are not finite"):
        judged(Judge({(): float("nan")})).success([BARE])


def test_impossible_numbers_are_refused_by_their_key():
    with pytest.raises(ValueError, match=r"value.lam is 2.0"):
        judged(lam=2.0)
    with pytest.raises(ValueError, match=r"score_range"):
        judged(score_range=(1.0, 1.0))


def test_no_rows_are_no_trouble():
    import torch

    value, none = judged(), torch.zeros(0, dtype=torch.int64)
    empty = estimated_of([(BARE, (1,))], None).rows(none)
    assert value.estimate(empty.scored).value.tolist() == []
    assert value.fit(empty) == {"value/score_slope": 1.0, "value/score_offset": 0.0}
    assert [x.tolist() for x in value.success([])] == [[], []]
