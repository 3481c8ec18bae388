"""A mean over problems with its interval. Problems are what was drawn, so problems are what is resampled."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000  # Monte-Carlo error of an interval's end is then about 1 % of its width
LEVEL = 0.95
_STREAM = "evaluate.bootstrap"  # one for all figures: equal numbers have equal intervals, whatever else is computed
_CHUNK = 4_000_000  # indices in memory at once


class Estimate(NamedTuple):
    """value: mean over problems.  low, high: percentile bootstrap interval; None for one problem, which has none."""

    value: float
    low: float | None
    high: float | None


def bootstrap_mean(values: Sequence[float], *, resamples: int = RESAMPLES, level: float = LEVEL) -> Estimate:
    """Mean of one number a problem, and the percentile interval of the means of ``resamples`` draws with replacement.

    Efron 1979, doi 10.1214/aos/1176344552. All values equal: no width, also where that is luck: with no success in P
    problems the truth may well be 3 / P. Two problems with 0 and 1: a resample's mean is 0,
    .5 and 1 with probabilities .25, .5, .25, so level .95 gives [0, 1] and level .4 gives [.5, .5].

    Args:
      values: one number a problem, at least one.
      resamples: draws.
      level: of confidence, in (0, 1).
    Raises:
      ValueError: no values.
    """
    if not len(values):
        raise ValueError("bootstrap_mean got no values; expected one a problem")
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) == 1:
        return Estimate(float(numbers[0]), None, None)
    generator = np.random.default_rng(zlib.crc32(_STREAM.encode()))
    rows = max(1, _CHUNK // len(numbers))
    means = np.concatenate([
        numbers[generator.integers(len(numbers), size=(min(rows, resamples - done), len(numbers)))].mean(axis=1)
        for done in range(0, resamples, rows)
    ])  # fmt: skip
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Estimate(float(numbers.mean()), float(low), float(high))
