"""Further selections: shares of first places against weights worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rrl.build import make
from rrl.records import Candidates
from rrl.replay.selection.mix import places
from rrl.replay.selection.proportional import race_scores
from tests.unit.replay.builders import option, progress_at, some_candidates

DRAWS = 600   # of one seeded generator; three standard errors are .06


def first_places(name: str, candidates: Candidates, *, done: float = 0.5, step: int = 0, **changed: Any) -> np.ndarray:
    """[P] share of the draws in which a state is ranked first."""
    selection = make(option("selection", name) | changed, "replay.selection")
    progress = progress_at(step, done=done)
    generator = np.random.default_rng(0)
    best = [int(np.argmax(selection.rank(candidates, progress, generator))) for _ in range(DRAWS)]
    return np.bincount(best, minlength=len(candidates)) / DRAWS


def near(*shares: float) -> Any:
    return pytest.approx(np.array(shares), abs=0.06)


def test_a_race_is_won_in_proportion_to_the_weights_and_weight_0_comes_last() -> None:
    generator = np.random.default_rng(0)
    scores = np.stack([race_scores(np.array([1.0, 3.0, 0.0]), generator) for _ in range(DRAWS)])
    assert np.bincount(scores.argmax(1), minlength=3) / DRAWS == near(0.25, 0.75, 0.0)
    assert (scores[:, 2] == 0.0).all() and (scores[:, :2] > 0.0).all()
    assert race_scores(np.zeros(2), np.random.default_rng(0)).tolist() == [0.0, 0.0]
    assert race_scores(np.array([1e-300, 0.0]), np.random.default_rng(0))[0] > 0.1   # only ratios matter


def test_value_threshold_is_uniform_at_and_above_the_median() -> None:
    candidates = some_candidates(value=[0.1, 0.5, 0.3, 0.5])   # sorted .1 .3 | .5 .5: the bar is .5
    assert first_places("value_threshold", candidates) == near(0.0, 0.5, 0.0, 0.5)
    assert first_places("value_threshold", candidates, quantile=0.0) == near(0.25, 0.25, 0.25, 0.25)
    selection = make(option("selection", "value_threshold"), "replay.selection")
    scores = selection.rank(candidates, progress_at(0), np.random.default_rng(0))
    np.testing.assert_allclose(scores[[0, 2]], [-1.9, -1.7])   # behind the bar still by value


def test_value_softmax_gives_e_times_the_weight_for_a_temperature_of_value() -> None:
    # e : 1, tau .1
    assert first_places("value_softmax", some_candidates(value=[0.2, 0.1])) == near(0.731, 0.269)
    assert first_places("value_softmax", some_candidates(value=[1.0, 0.0]), tau=1e-4) == near(1.0, 0.0)


def test_gain_counts_what_is_above_the_bare_prompt() -> None:
    above = replace(some_candidates(value=[0.3, 0.4]), root_value=0.2)
    assert first_places("gain", above) == near(0.212, 0.788)   # e - 1 = 1.718 against e^2 - 1 = 6.389
    one = replace(some_candidates(value=[0.1, 0.3, 0.2]), root_value=0.2)
    assert first_places("gain", one) == near(0.0, 1.0, 0.0)
    assert first_places("gain", some_candidates(value=[1.0, 0.9]), tau=1e-4) == near(1.0, 0.0)


def test_plr_mixes_the_rank_of_the_value_with_idleness() -> None:
    candidates = some_candidates(value=[0.9, 0.5], idle=[0, 4])
    assert first_places("plr", candidates, beta=1.0, stale_frac=0.0) == near(2 / 3, 1 / 3)   # 1 : 1/2
    assert first_places("plr", candidates, beta=1.0, stale_frac=0.5) == near(1 / 3, 2 / 3)   # (2/3 + 0, 1/3 + 1) / 2
    assert first_places("plr", candidates) == near(0.9, 0.1)     # 2^-10 is next to nothing beside .1 idle
    equal = some_candidates(value=[0.5, 0.5])                    # never idle: that part is uniform
    assert first_places("plr", equal) == near(0.5, 0.5)


def test_uncertainty_follows_the_standard_deviation_and_is_random_without_one() -> None:
    unsure = replace(some_candidates(value=[0.5, 0.5]), value_std=np.array([0.1, 0.3]))
    assert first_places("uncertainty", unsure) == near(0.25, 0.75)
    selection = make(option("selection", "uncertainty"), "replay.selection")
    same = selection.rank(some_candidates(value=[0.1, 0.9]), progress_at(0), np.random.default_rng(0))
    assert same.tolist() == [0.0, 0.0]   # the draw breaks ties at random


def test_progress_follows_how_far_the_value_rose_since_storage() -> None:
    candidates = replace(some_candidates(value=[0.3, 0.5, 0.1]), born_value=np.array([0.2, 0.2, 0.2]))
    assert first_places("progress", candidates) == near(0.25, 0.75, 0.0)


def test_novelty_follows_one_over_the_root_of_tries() -> None:
    assert first_places("novelty", some_candidates(value=[0.0, 1.0], tries=[0.0, 3.0])) == near(2 / 3, 1 / 3)


def test_the_depth_curriculum_moves_from_the_end_to_the_prompt() -> None:
    candidates = replace(some_candidates(value=[0.5, 0.5]), depth_frac=np.array([0.5, 0.7]))
    assert first_places("depth_curriculum", candidates, done=0.5) == near(0.622, 0.378)   # 1 : exp(-.5)
    # centre 1: z = 2.5 and 1.5, weights exp(-3.125) : exp(-1.125) = 1 : e^2
    assert first_places("depth_curriculum", candidates, done=0.0) == near(0.119, 0.881)
    # centre 0: z = 2.5 and 3.5, 1 : exp(-3)
    assert first_places("depth_curriculum", candidates, done=1.0) == near(0.953, 0.047)
    assert first_places("depth_curriculum", candidates, done=0.0, width=1e-3) == near(0.0, 1.0)   # no underflow


def test_freshness_weighs_value_by_age() -> None:
    candidates = replace(some_candidates(value=[0.5, 0.5]), born_step=np.array([0, 200]))
    assert first_places("freshness", candidates, step=300) == near(0.269, 0.731)   # 1/e : 1
    valued = replace(some_candidates(value=[0.6, 0.2]), born_step=np.array([7, 7]))
    assert first_places("freshness", valued, step=9000) == near(0.75, 0.25)


def test_td_error_follows_a_power_of_the_surprise() -> None:
    candidates = replace(some_candidates(value=[0.9, 0.1, 0.5]), td=np.array([0.09, 0.39, 0.0]))
    assert first_places("td_error", candidates, alpha=1.0) == near(0.196, 0.784, 0.02)    # .10 : .40 : .01
    assert first_places("td_error", candidates, alpha=0.5) == near(0.302, 0.603, 0.095)     # .316 : .632 : .1
    assert first_places("td_error", candidates, alpha=0.0) == near(1 / 3, 1 / 3, 1 / 3)


def test_places_are_the_share_of_others_below_with_equals_halved() -> None:
    np.testing.assert_allclose(places(np.array([0.3, 0.9, 0.3])), [0.25, 1.0, 0.25])
    assert places(np.array([7.0])).tolist() == [1.0]


def test_mix_averages_places_by_normalised_weights() -> None:
    parts = {"gap": option("selection", "gap"), "learnability": option("selection", "learnability")}
    mix = make(option("selection", "mix") | {"parts": parts, "weights": {"gap": 3.0, "learnability": 1.0}}, "selection")
    # untried: p = V; gap ranks .5 < .6 < .9, p(1 - p) ranks .09 < .24 < .25
    candidates = some_candidates(value=[0.5, 0.6, 0.9])
    scores = mix.rank(candidates, progress_at(0), np.random.default_rng(0))
    np.testing.assert_allclose(scores, [0.75 * 0.0 + 0.25 * 1.0, 0.5, 0.75 * 1.0 + 0.25 * 0.0])


@pytest.mark.parametrize(("name", "changed", "expected"), [
    ("value_threshold", {"quantile": 1.5}, "replay.selection.quantile is 1.5"),
    ("value_softmax", {"tau": 0.0}, "replay.selection.tau is 0.0"),
    ("gain", {"tau": -1.0}, "replay.selection.tau is -1.0"),
    ("freshness", {"tau": 0.0}, "replay.selection.tau is 0.0"),
    ("td_error", {"alpha": -0.1}, "replay.selection.alpha is -0.1"),
    ("td_error", {"epsilon": 0.0}, "epsilon 0.0"),
    ("plr", {"beta": 0.0}, "replay.selection.beta is 0.0"),
    ("plr", {"stale_frac": 1.1}, "stale_frac 1.1"),
    ("depth_curriculum", {"width": 0.0}, "width 0.0"),
    ("mix", {"weights": {"thompson": 1.0}}, r"weights names \['thompson'\]; expected one weight for each"),
    ("mix", {"weights": {"thompson": 0.0, "novelty": 0.0}}, "not all 0"),
])
def test_impossible_numbers_are_refused_by_name(name: str, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make(option("selection", name) | changed, "replay.selection")
