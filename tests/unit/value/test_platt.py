"""Scores of any scale made probabilities."""

import numpy as np
import pytest
from scipy.optimize import minimize

from rrl.value.platt import Platt, fitted
from tests.unit.learner.tabular import SoloRanks, ThreadRanks


def test_it_begins_as_the_scores_sigmoid():
    platt = Platt(ranks=SoloRanks(), window=10)
    assert platt.probability(np.array([0.0, np.log(3.0), -800.0, 800.0])).tolist() == pytest.approx([0.5, 0.75, 0, 1])


@pytest.mark.parametrize("scale", [0.02, 1.0, 40.0])
def test_the_fit_is_the_minimum_that_scipy_finds(scale):
    generator = np.random.default_rng(0)
    score = scale * generator.normal(2.0, 1.0, 200)
    solved = (generator.random(200) < 1 / (1 + np.exp(-(score / scale - 1.5) * 2))).astype(float)
    weight = generator.random(200)

    def loss(x):
        z = x[0] * score + x[1]
        return (weight * (np.logaddexp(0, z) - solved * z)).sum() + ((x[0] - 1) ** 2 + x[1] ** 2) / 2

    found = fitted(score, solved, weight)
    oracle = minimize(loss, [1.0 / scale, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12,
                                                                               "maxiter": 4000})
    assert loss(found) <= oracle.fun + 1e-8
    assert found == pytest.approx(tuple(oracle.x), rel=1e-3, abs=1e-4)


def test_separated_and_one_sided_outcomes_stay_finite():
    for solved in ([0.0, 0.0, 1.0, 1.0], [1.0] * 4, [0.0] * 4):
        slope, offset = fitted(np.array([-500.0, -1.0, 1.0, 500.0]), np.array(solved), np.ones(4))
        assert np.isfinite([slope, offset]).all()
    slope, _ = fitted(np.array([-1.0, 1.0]), np.array([1.0, 0.0]), np.full(2, 50.0))
    assert slope < 0  # a judge that is wrong is read the other way round


def test_the_latest_states_count_and_survive_a_save():
    platt, twin = (Platt(ranks=SoloRanks(), window=2) for _ in range(2))
    platt.observe([(1.0, 1.0, 1.0)] * 2)
    platt.observe([(1.0, 0.0, 1.0), (-1.0, 1.0, 0.5)])
    assert (platt.slope, platt.offset) == fitted(np.array([1.0, -1.0]), np.array([0.0, 1.0]), np.array([1.0, 0.5]))
    twin.load_state_dict(platt.state_dict())
    for p in (platt, twin):
        p.observe([(0.3, 1.0, 1.0)])
    assert (platt.slope, platt.offset) == (twin.slope, twin.offset)
    before = platt.slope
    platt.observe([])
    assert platt.slope == pytest.approx(before)


def test_ranks_calibrate_together():
    solo = Platt(ranks=SoloRanks(), window=10)
    seen = [(0.5, 1.0, 1.0), (2.0, 0.0, 1.0), (-1.0, 0.0, 0.5)]
    solo.observe(seen)

    def rank(mine):
        def work(ranks):
            platt = Platt(ranks=ranks, window=10)
            platt.observe(mine)
            return platt.slope, platt.offset

        return work

    assert ThreadRanks.together([rank(seen[:1]), rank(seen[1:])]) == [(solo.slope, solo.offset)] * 2


def test_nothing_can_be_calibrated_on_no_state():
    with pytest.raises(ValueError, match=r"value.window is 0; expected >= 1"):
        Platt(ranks=SoloRanks(), window=0)
