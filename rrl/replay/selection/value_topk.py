"""Uniform among the states with the highest value: the closest reading of the published selection."""

from __future__ import annotations

import numpy as np

from rrl.records import Candidates, Progress


class ValueTopk:
    """A random score in [0, 1) for the top ceil(k_frac P) by value, V - 2 (always below) for the others.

    Args:
        k_frac: share of a problem's states inside, (0, 1].
    """

    def __init__(self, *, k_frac: float) -> None:
        if not 0.0 < k_frac <= 1.0:
            raise ValueError(f"replay.selection.k_frac is {k_frac}; expected a number in (0, 1]")
        self._k_frac = k_frac

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        num = int(np.ceil(self._k_frac * len(candidates) - 1e-9))
        draws = generator.random((2, len(candidates)))
        inside = np.lexsort((draws[1], -candidates.value))[:num]  # equal values: at random
        scores: np.ndarray = candidates.value - 2.0
        scores[inside] = draws[0, inside]
        return scores
