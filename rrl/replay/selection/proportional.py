"""Proportional sampling as a ranking: what every weighted selection shares."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.replay.race import arrival_times


def race_scores(weight: np.ndarray, generator: Noise) -> np.ndarray:
    """1 / (1 + t) of arrival times t = Exp(1) / w: the best is item i with probability w_i / sum w.

    Args:
        weight: [P], >= 0, finite. Only ratios matter. Items of weight 0 score 0, behind all others; the draw breaks
            ties at random, so that all-zero weights are the uniform choice.

    Returns:
        [P] in [0, 1], highest first.
    """
    scale = max(float(weight.max(initial=0.0)), np.finfo(np.float64).tiny)
    times = arrival_times(generator.random((len(weight), 1)), weight / scale)[:, 0]
    scores: np.ndarray = 1.0 / (1.0 + times)
    return scores
