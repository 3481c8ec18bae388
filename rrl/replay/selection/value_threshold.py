"""Uniform among the states whose value passes a bar: the other reading of the published selection."""

from __future__ import annotations

import numpy as np

from rrl.records import Candidates, Progress


class ValueThreshold:
    """A random score in [0, 1) where V >= tau, V - 2 (always below) elsewhere; tau = a quantile of the values.

    RRL (Dou et al., arXiv 2504.14363), as far as its digests speak of a threshold. Unlike ``value_topk`` all equals
    of the bar are inside.

    Args:
        quantile: tau's place among the values of a problem's states, [0, 1]; 1 = the best value only.
    """

    def __init__(self, *, quantile: float) -> None:
        if not 0.0 <= quantile <= 1.0:
            raise ValueError(f"replay.selection.quantile is {quantile}; expected a number in [0, 1]")
        self._quantile = quantile

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        value = candidates.value
        # One of the values themselves: an interpolated bar lies between two of them and says less.
        inside = value >= np.quantile(value, self._quantile, method="higher")
        scores: np.ndarray = np.where(inside, generator.random(len(candidates)), value - 2.0)
        return scores
