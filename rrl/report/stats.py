"""Statistics over seeds, small and without dependencies beyond numpy and scipy.

t-intervals for means of a few seeds; a paired permutation test for two arms on equal seeds. What takes several
tasks together (interquartile mean, profiles) is in ``aggregate``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

_EXACT_UP_TO = 14  # pairs: 2^14 sign patterns are still one small array
_SIGNS_AT_ONCE = 4_000_000  # random signs in memory: 32 MB


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None]:
    """Mean and half width of its t-interval: t_{(1 + level) / 2, n - 1} * s / sqrt(n).

    Args:
      values: one number a seed; at least one.
      level: of confidence, in (0, 1).
    Returns:
      (mean, half width); the half width is None for one value: a single seed has no interval.
    Raises:
      ValueError: no values.
    """
    if not len(values):
        raise ValueError("t_interval needs at least one value")
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, None
    quantile = float(stats.t.ppf((1.0 + level) / 2.0, len(values) - 1))
    return mean, quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def t_half_widths(values: np.ndarray, level: float = 0.95) -> np.ndarray:
    """[points]: half widths of ``t_interval`` of every column of [seeds, points], two seeds or more."""
    seeds = len(values)
    quantile = float(stats.t.ppf((1.0 + level) / 2.0, seeds - 1))
    return np.asarray(quantile * np.std(values, axis=0, ddof=1) / math.sqrt(seeds))


def paired_permutation(
    first: Sequence[float], second: Sequence[float], *, generator: np.random.Generator, repetitions: int = 100_000
) -> float:
    """Two-sided p-value that the mean difference of pairs is 0, by flipping the signs of differences.

    Exact up to 14 pairs: three pairs with equal differences give 2 / 2^3 = .25, five give 2 / 2^5.
    Args:
      first, second: one number a seed, in the same order.
      generator: source of random signs beyond 14 pairs.
      repetitions: random sign patterns beyond 14 pairs.
    Raises:
      ValueError: unequal lengths or no pairs.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"paired_permutation got {len(first)} and {len(second)} numbers; expected equal, at least one")
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if len(difference) <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(difference))))
        return _num_as_large(signs, difference) / len(signs)
    as_large, rows = 1, max(1, _SIGNS_AT_ONCE // len(difference))
    for done in range(0, repetitions, rows):
        signs = generator.choice((-1.0, 1.0), size=(min(rows, repetitions - done), len(difference)))
        as_large += _num_as_large(signs, difference)
    return as_large / (repetitions + 1)  # the observed pattern counts: p is never 0 (Phipson and Smyth 2010)


def _num_as_large(signs: np.ndarray, difference: np.ndarray) -> int:
    """Sign patterns under which the sum of differences is at least as far from 0 as the observed one."""
    return int(np.sum(np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12))
