import numpy as np
import pytest

from rrl.report.stats import paired_permutation, t_half_widths, t_interval


def test_interval_of_one_two_three_is_t_times_the_standard_error():
    mean, half = t_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.302653 / 3**0.5, abs=1e-5)  # t(.975, 2) = 4.302653, s = 1


def test_one_seed_has_no_interval():
    assert t_interval([0.4]) == (0.4, None)


def test_intervals_of_many_points_are_those_of_each():
    values = np.random.default_rng(0).normal(size=(3, 5))
    assert t_half_widths(values).tolist() == pytest.approx([t_interval(column.tolist())[1] for column in values.T])


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="at least one value"):
        t_interval([])


def test_three_equal_differences_give_two_of_eight_sign_patterns():
    assert paired_permutation([1, 1, 1], [0, 0, 0], generator=np.random.default_rng(0)) == 0.25


def test_differences_that_cancel_give_no_evidence():
    assert paired_permutation([1, 0], [0, 1], generator=np.random.default_rng(0)) == 1.0


def test_many_pairs_are_sampled_and_never_give_zero():
    chance = paired_permutation([1.0] * 20, [0.0] * 20, generator=np.random.default_rng(0), repetitions=999)
    assert chance == pytest.approx(1 / 1000)


def test_unequal_pairs_are_refused():
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired_permutation([1.0, 2.0], [1.0], generator=np.random.default_rng(0))
