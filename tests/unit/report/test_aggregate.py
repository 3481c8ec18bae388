import json
from pathlib import Path

import numpy as np
import pytest

from rrl.report.aggregate import bootstrap, iqm, mean, performance_profile, probability_of_improvement
from tests.unit.report.rliable_reference import scores

REFERENCE = json.loads((Path(__file__).parent / "rliable_reference.json").read_text())


def a(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


def tasks_of(table: np.ndarray) -> list[np.ndarray]:
    return list(table.T)


def test_interquartile_mean_drops_a_quarter_at_each_end_of_all_scores_together():
    assert iqm([a(1, 2, 3, 4, 5, 6, 7, 100)]) == 4.5  # (3 + 4 + 5 + 6) / 4
    assert iqm([a(1, 3, 5, 7), a(2, 4, 6, 100)]) == 4.5  # the same eight, of two tasks
    assert iqm([a(1, 2, 6)]) == 3.0  # of three, floor(3 / 4) = 0 are dropped


def test_mean_weighs_tasks_alike_whatever_their_seeds():
    assert mean([a(0, 1), a(1, 1, 1, 1)]) == 0.75


def test_a_profile_is_the_share_of_runs_above_each_threshold():
    one = performance_profile([a(1, 2, 3, 4)], a(0, 2, 2.5, 4))
    assert one.tolist() == [1.0, 0.5, 0.5, 0.0]  # above, not at: 2 of 4 exceed 2
    both = performance_profile([a(1, 2, 3, 4), a(3, 3)], a(2))
    assert both.tolist() == [0.75]  # (.5 + 1) / 2: tasks weigh alike


def test_probability_of_improvement_counts_pairs_and_halves_ties():
    assert probability_of_improvement([a(2, 3)], [a(1, 2)]) == 0.875  # (1 + .5 + 1 + 1) / 4
    assert probability_of_improvement([a(2, 3), a(0)], [a(1, 2), a(5, 6)]) == 0.4375  # (.875 + 0) / 2
    assert probability_of_improvement([a(1)], [a(1)]) == 0.5


def test_unequal_tasks_cannot_be_compared():
    with pytest.raises(ValueError, match="got 1 and 2 tasks"):
        probability_of_improvement([a(1)], [a(1), a(2)])


def test_scores_are_resampled_within_their_task_only():
    # Each task's seeds agree, so every resample is the table itself; mixed tasks would give 0 to 1.
    assert bootstrap(iqm, [a(0, 0), a(1, 1)], generator=np.random.default_rng(0), repetitions=50) == (0.5, 0.5, 0.5)


def test_two_scores_have_an_interval_that_can_be_worked_by_hand():
    # A resample's mean is 0, .5, 1 with probability 1/4, 1/2, 1/4.
    draw = {"generator": np.random.default_rng(0), "repetitions": 4000}
    assert bootstrap(mean, [a(0, 1)], **draw) == (0.5, 0.0, 1.0)
    assert bootstrap(mean, [a(0, 1)], **draw, level=0.4) == (0.5, 0.5, 0.5)


def test_one_seed_a_task_has_no_width():
    value, low, high = bootstrap(mean, [a(0.3), a(0.5)], generator=np.random.default_rng(0), repetitions=10)
    assert (value, low, high) == pytest.approx((0.4, 0.4, 0.4))


def test_a_task_without_scores_is_refused():
    with pytest.raises(ValueError, match="one score in each"):
        bootstrap(mean, [a()], generator=np.random.default_rng(0))


def test_points_are_rliables_to_the_last_digits():
    ours, theirs = (tasks_of(t) for t in scores())
    for name, tasks in (("ours", ours), ("theirs", theirs)):
        assert [float(iqm(tasks)), float(mean(tasks))] == pytest.approx(REFERENCE["iqm_mean"][name], abs=1e-12)
        profile = performance_profile(tasks, np.array(REFERENCE["taus"]))
        assert profile.tolist() == pytest.approx(REFERENCE["profile"][name], abs=1e-12)
    assert float(probability_of_improvement(ours, theirs)) == pytest.approx(REFERENCE["improvement"], abs=1e-12)


def test_intervals_are_rliables_up_to_the_noise_of_resampling():
    # Two seeds of 5,000 resamples differ by about .003 here; a bootstrap that is not stratified by .02 and more.
    ours, theirs = (tasks_of(t) for t in scores())
    generator, taus = np.random.default_rng(0), np.array(REFERENCE["taus"])
    for name, tasks in (("ours", ours), ("theirs", theirs)):
        low, high = np.array(REFERENCE["iqm_mean_interval"][name])
        for place, statistic in enumerate((iqm, mean)):
            found = bootstrap(statistic, tasks, generator=generator)
            assert [float(found.low), float(found.high)] == pytest.approx([low[place], high[place]], abs=0.008)
        found = bootstrap(lambda t: performance_profile(t, taus), tasks, generator=generator)
        assert np.abs(np.array([found.low, found.high]) - REFERENCE["profile_interval"][name]).max() <= 0.05 + 1e-9
    found = bootstrap(probability_of_improvement, ours, theirs, generator=generator)
    assert [float(found.low), float(found.high)] == pytest.approx(REFERENCE["improvement_interval"], abs=0.012)
