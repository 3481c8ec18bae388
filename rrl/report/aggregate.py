"""Aggregates over tasks and seeds that few runs can carry: IQM, performance profile, probability of improvement.

All of Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv 2108.13264):
intervals are percentile intervals of a stratified bootstrap (section 4.1: seeds are resampled within each task, never
across). One array of scores a task, one score a seed; tasks may have different numbers of seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

Tasks = Sequence[np.ndarray]  # one array a task: [..., seeds] scores; leading axes are resamples
REPETITIONS = 5_000  # the Monte-Carlo error of an interval's end is then about 2 % of its width
_PER_CHUNK = 2_000_000  # numbers resampled at once: 16 MB


class Interval(NamedTuple):
    """value: of all scores.  low, high: percentile bootstrap; equal to value where nothing can be resampled."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def iqm(tasks: Tasks) -> np.ndarray:
    """Interquartile mean of all scores together, the mean of the middle half (section 4.3).

    floor(n / 4) scores are left out at each end: 1..7, 100 -> (3 + 4 + 5 + 6) / 4 = 4.5.
    """
    return np.asarray(stats.trim_mean(np.concatenate(list(tasks), axis=-1), 0.25, axis=-1))


def mean(tasks: Tasks) -> np.ndarray:
    """Mean over tasks of the means over seeds."""
    return np.asarray(np.mean([scores.mean(axis=-1) for scores in tasks], axis=0))


def performance_profile(tasks: Tasks, taus: np.ndarray) -> np.ndarray:
    """Share of runs that score above tau, averaged over tasks (section 4.2, run-score distribution).

    F(tau) = 1/M sum_m 1/N_m sum_n 1[x_mn > tau]. Task (1, 2, 3, 4) at tau = 2: 2 of 4 = .5.

    Args:
      tasks: scores.
      taus: [T] thresholds.
    Returns:
      [..., T].
    """
    shares = [(scores[..., None] > taus).mean(axis=-2) for scores in tasks]
    return np.asarray(np.mean(shares, axis=0))


def probability_of_improvement(ours: Tasks, theirs: Tasks) -> np.ndarray:
    """How likely a run of ours beats one of theirs on a random task (section 4.3; Mann-Whitney's U / (N K)).

    1/M sum_m 1/(N K) sum_i sum_j S(x_mi, y_mj), S = 1 above, .5 equal, 0 below. (2, 3) against (1, 2): (1 + .5 + 1 +
    1) / 4 = .875.

    Raises:
      ValueError: not the same number of tasks.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"probability_of_improvement got {len(ours)} and {len(theirs)} tasks; expected equal, >= 1")
    wins = []
    for x, y in zip(ours, theirs, strict=True):
        difference = x[..., :, None] - y[..., None, :]
        wins.append(((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-2, -1)))
    return np.asarray(np.mean(wins, axis=0))


def bootstrap(
    statistic: Callable[..., np.ndarray], *groups: Tasks, generator: np.random.Generator,
    repetitions: int = REPETITIONS, level: float = 0.95,
) -> Interval:  # fmt: skip
    """A statistic of one or more groups of scores, with its stratified percentile bootstrap interval.

    Args:
      statistic: takes each group's tasks, with one leading axis of resamples, and keeps that axis.
      groups: resampled independently of each other.
      generator: source of the resampling.
      repetitions: resamples.
      level: of confidence, in (0, 1).
    Raises:
      ValueError: a group without tasks, or a task without scores.
    """
    arrays = [[np.asarray(scores, dtype=np.float64) for scores in tasks] for tasks in groups]
    if not all(arrays) or any(scores.ndim != 1 or not len(scores) for tasks in arrays for scores in tasks):
        raise ValueError("bootstrap needs at least one task, and one score in each; expected [seeds] arrays")
    value = statistic(*arrays)
    per_row = max(1, value.size) * sum(len(scores) for tasks in arrays for scores in tasks)
    at_once, samples = max(1, _PER_CHUNK // per_row), []
    for done in range(0, repetitions, at_once):
        rows = min(at_once, repetitions - done)
        drawn = [
            [scores[generator.integers(len(scores), size=(rows, len(scores)))] for scores in tasks] for tasks in arrays
        ]
        samples.append(statistic(*drawn))
    low, high = np.quantile(np.concatenate(samples), [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return Interval(value, low, high)
