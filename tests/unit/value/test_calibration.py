"""Calibration of value estimates: numbers by hand, sums over ranks."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from rrl.types import Start
from rrl.value.calibration import auc, brier, calibration, ece, explained_variance, spearman
from tests.unit.learner.tabular import SoloRanks, ThreadRanks, estimated_of, problem, random_estimated

BARE = Start(problem=problem())
PREFIXED = Start(problem=problem(), prefix=(1,))


def ev(target, value):
    target, error = np.array(target), np.array(target) - np.array(value)
    return explained_variance(len(target), target.sum(), (target**2).sum(), error.sum(), (error**2).sum())


def test_explained_variance_by_hand():
    assert ev([0.0, 1.0], [0.0, 1.0]) == 1.0
    assert ev([0.0, 1.0], [0.5, 0.5]) == 0.0
    assert ev([0.0, 1.0], [0.25, 0.75]) == 0.75  # errors -.25, .25: variance 1/16 against 1/4
    assert ev([0.0, 1.0], [1.0, 0.0]) == -3.0
    assert ev([0.3, 0.3, 0.3], [0.0, 0.5, 0.1]) is None


def test_brier_is_the_mean_squared_error():
    assert brier(4, 1.0) == 0.25
    assert brier(0, 0.0) is None


def test_ece_by_hand():
    # Two predictions of .95 of which one solved, two of .05 of which none: (|1.9 - 1| + |.1 - 0|) / 4.
    count, predicted, solved = np.zeros(10), np.zeros(10), np.zeros(10)
    count[[9, 0]], predicted[[9, 0]], solved[9] = 2, [1.9, 0.1], 1
    assert ece(count, predicted, solved) == pytest.approx(0.25)


def test_auc_by_hand():
    assert auc(np.array([0.1, 0.9]), np.array([False, True])) == 1.0
    assert auc(np.array([0.9, 0.1]), np.array([False, True])) == 0.0
    assert auc(np.array([0.5, 0.5, 0.5]), np.array([False, True, True])) == 0.5
    # positives .4 and .8 against negatives .4 and .1: wins 1 of (.4, .1), half of (.4, .4), both of .8
    assert auc(np.array([0.4, 0.8, 0.4, 0.1]), np.array([True, True, False, False])) == 3.5 / 4
    assert auc(np.array([0.4, 0.8]), np.array([True, True])) is None


def test_rows_are_split_by_origin_and_undefined_numbers_are_absent():
    rows = [(BARE, (1, 2)), (BARE, (1,)), (PREFIXED, (1,))]
    estimated = estimated_of(
        rows, None, scores=[1.0, 0.0, 1.0], value=[0.5, 1.0, 0.0, 0.7], target=[1.0, 1.0, 0.0, 1.0],
        success=[0.4, 0.9, 0.5, 0.6],
    )
    metrics = calibration(estimated, SoloRanks())
    assert metrics["value/auc_fresh"] == 0.0        # first actions: .4 solved, .5 not
    assert metrics["value/auc_last_fresh"] == 1.0   # last actions: .9 solved, .5 not
    assert metrics["value/brier_fresh"] == pytest.approx((0.36 + 0.01 + 0.25) / 3)
    assert metrics["value/brier_replayed"] == pytest.approx(0.16)
    assert metrics["value/ece_replayed"] == pytest.approx(0.4)
    # errors .5, 0, 0: variance 1/12 - 1/36; targets 1, 1, 0: variance 2/9
    assert metrics["value/explained_variance_fresh"] == pytest.approx(1 - (1 / 12 - 1 / 36) / (2 / 9))
    assert not {"value/auc_replayed", "value/explained_variance_replayed"} & set(metrics)


def test_spearman_by_hand_and_by_scipy():
    assert spearman(np.array([0.1, 0.2, 0.9]), np.array([0.0, 0.5, 0.6])) == pytest.approx(1.0)
    # Ranks 1, 2, 3 against 2, 1, 3: 1 - 6 (1 + 1 + 0) / (3 x 8).
    assert spearman(np.array([0.1, 0.2, 0.9]), np.array([0.5, 0.4, 0.6])) == pytest.approx(0.5)
    assert spearman(np.array([0.1, 0.2, 0.9]), np.array([0.5, 0.5, 0.5])) is None
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 6, 40) / 6, generator.integers(0, 3, 40) / 2  # many ties
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)


def test_starts_are_ranked_by_the_solved_share_of_their_rows():
    starts = [Start(problem=problem(), prefix=(t,)) for t in (1, 2, 3)]
    # Two rows a start: shares 1, 1/2, 0 against .2, .6, .4 told: ranks 3, 2, 1 against 1, 3, 2.
    rows = [(start, (1,)) for start in starts for _ in range(2)]
    scores, success = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0.2, 0.2, 0.6, 0.6, 0.4, 0.4]
    estimated = estimated_of(rows, None, scores=scores, success=success)
    assert calibration(estimated, SoloRanks())["value/rank_correlation_replayed"] == pytest.approx(-0.5)
    two = calibration(estimated.rows(torch.arange(4)), SoloRanks())
    assert "value/rank_correlation_replayed" not in two and "value/rank_correlation_fresh" not in two
    parts = (torch.tensor([0, 2]), torch.tensor([1, 3, 4, 5]))  # a start's rows on two ranks
    found = ThreadRanks.together([lambda ranks, i=i: calibration(estimated.rows(i), ranks) for i in parts])
    assert [f["value/rank_correlation_replayed"] for f in found] == pytest.approx([-0.5, -0.5])


def test_two_ranks_report_what_one_would():
    whole = random_estimated(9, seed=3)
    parts = (torch.arange(0, 4), torch.arange(4, 9))
    by_rank = ThreadRanks.together([lambda ranks, i=i: calibration(whole.rows(i), ranks) for i in parts])
    assert by_rank[0] == pytest.approx(calibration(whole, SoloRanks()))
    assert by_rank[0] == by_rank[1]


def test_no_rows_no_numbers():
    assert calibration(random_estimated(2).rows(torch.zeros(0, dtype=torch.int64)), SoloRanks()) == {}
