from __future__ import annotations

import numpy as np

from rrl.replay.race import arrival_times, first_arrivals


def test_arrival_times_are_summed_exponentials_over_the_weight() -> None:
    uniform = 1.0 - np.exp(-np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))   # -log(1 - u) = 1, 2, ...
    times = arrival_times(uniform, np.array([1.0, 0.5, 0.0]))
    np.testing.assert_allclose(times[:2], [[1.0, 3.0], [6.0, 14.0]])
    assert np.isinf(times[2]).all()


def test_the_earliest_arrivals_come_first_and_infinite_ones_never() -> None:
    times = np.array([[3.0, 9.0], [np.inf, np.inf], [1.0, 2.0]])
    assert first_arrivals(times, 3).tolist() == [4, 5, 0]
    assert first_arrivals(times, 99).tolist() == [4, 5, 0, 1]
    assert first_arrivals(times, 0).tolist() == []


def test_the_first_to_arrive_is_proportional_to_the_weights() -> None:
    generator, weight = np.random.default_rng(0), np.array([1.0, 2.0, 5.0])
    winners = [int(first_arrivals(arrival_times(generator.random((3, 1)), weight), 1)[0]) for _ in range(4000)]
    share = np.bincount(winners, minlength=3) / 4000
    np.testing.assert_allclose(share, [0.125, 0.25, 0.625], atol=0.025)   # three standard errors: .023
