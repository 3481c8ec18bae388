from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rrl.build import make
from rrl.records import Candidates
from tests.unit.replay.builders import option, progress_at, some_candidates


def rank(name: str, candidates: Candidates, seed: int = 0, **changed: Any) -> np.ndarray:
    return ranks(name, candidates, range(seed, seed + 1), **changed)[0]


def ranks(name: str, candidates: Candidates, seeds: range, **changed: Any) -> np.ndarray:
    """[seeds, P] scores."""
    selection = make(option("selection", name) | changed, "replay.selection")
    return np.stack([selection.rank(candidates, progress_at(0), np.random.default_rng(seed)) for seed in seeds])


def test_gap_is_the_posterior_mean_above_the_root() -> None:
    # (1 + 2 x .5) / (2 + 2) - .3, (0 + 2 x .1) / 2 - .3 < 0, (0 + 2 x .8) / 2 - .3
    three = some_candidates(value=[0.5, 0.1, 0.8], tries=[2, 0, 0], conversions=[1, 0, 0], root_success=0.3)
    scores = rank("gap", three)
    np.testing.assert_allclose(scores, [0.2, 0.0, 0.5])


def test_learnability_peaks_at_one_half() -> None:
    scores = rank("learnability", some_candidates(value=[0.5, 0.1, 1.0], tries=[2, 0, 0], conversions=[1, 0, 0]))
    np.testing.assert_allclose(scores, [0.25, 0.09, 0.0])


def test_thompson_draws_from_the_posterior() -> None:
    # Beta(c + 2V, n - c + 2(1 - V)) = Beta(4, 6): mean .4, variance 24 / (100 x 11)
    candidates = some_candidates(value=[0.5], tries=[8.0], conversions=[3.0])
    draws = ranks("thompson", candidates, range(2000))
    assert draws.mean() == pytest.approx(0.4, abs=0.01)
    assert draws.var() == pytest.approx(24 / 1100, abs=0.003)


def test_thompson_rescaled_lifts_tiny_values_to_the_problems_largest() -> None:
    tiny = some_candidates(value=[0.001, 0.0001])
    plain = ranks("thompson", tiny, range(500)).argmax(1)
    lifted = ranks("thompson", tiny, range(500), rescale=True).argmax(1)
    # Beta(2, 0) against Beta(.2, 1.8): the first nearly always wins; unscaled both are near Beta(0, 2)
    assert np.mean(lifted == 0) > 0.99
    assert np.mean(plain == 0) < 0.95


def test_value_topk_is_uniform_inside_the_best_quarter_and_never_outside() -> None:
    candidates = some_candidates(value=[0.1, 0.9, 0.2, 0.8, 0.3, 0.4, 0.5, 0.6])   # top 2 of 8
    best = ranks("value_topk", candidates, range(1000)).argmax(1).tolist()
    assert set(best) == {1, 3} and abs(best.count(1) - 500) < 50
    scores = rank("value_topk", candidates)
    np.testing.assert_allclose(np.delete(scores, [1, 3]), [-1.9, -1.8, -1.7, -1.6, -1.5, -1.4])
    assert (scores[[1, 3]] >= 0.0).all()


def test_value_topk_draws_among_equal_values_at_random() -> None:
    best = ranks("value_topk", some_candidates(value=[0.5] * 4), range(2000)).argmax(1)
    np.testing.assert_allclose(np.bincount(best) / 2000, [0.25] * 4, atol=0.03)


def test_random_state_ignores_the_values() -> None:
    best = ranks("random_state", some_candidates(value=[0.0, 1.0]), range(1000)).argmax(1)
    assert np.mean(best) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["thompson", "gap", "learnability", "value_topk", "random_state"])
def test_scores_stay_finite_at_the_ends_of_every_range(name: str) -> None:
    ends = some_candidates(value=[0.0, 1.0, 0.0, 1.0], tries=[0.0, 0.0, 1e6, 1e6], conversions=[0.0, 0.0, 0.0, 1e6])
    assert np.isfinite(ranks(name, ends, range(50))).all()
    assert np.isfinite(ranks(name, some_candidates(value=[0.0]), range(50))).all()


@pytest.mark.parametrize(("name", "changed", "expected"), [
    ("thompson", {"kappa": 0.0}, "replay.selection.kappa is 0.0; expected > 0"),
    ("value_topk", {"k_frac": 0.0}, "replay.selection.k_frac is 0.0"),
])
def test_impossible_numbers_are_refused_by_name(name: str, changed: dict[str, float], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        rank(name, some_candidates(value=[0.5]), **changed)
