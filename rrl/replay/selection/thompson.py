"""Thompson sampling: draw each state's P(solved) from its posterior, take the largest."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.records import Candidates, Progress

_TINY = 1e-6  # a Beta distribution needs positive parameters; c and V may both be 0


class Thompson:
    """p ~ Beta(c + kappa V, n - c + kappa (1 - V)), decayed conversions c and tries n (Thompson, 1933).

    Args:
        kappa: how many tries the value is worth, > 0.
        rescale: V over the problem's largest V: for tiny values of a good critic, whose order would drown in
            the posterior's noise.
    """

    def __init__(self, *, kappa: float, rescale: bool) -> None:
        if kappa <= 0.0:
            raise ValueError(f"replay.selection.kappa is {kappa}; expected > 0")
        self._kappa, self._rescale = kappa, rescale

    @property
    def reads(self) -> tuple[str, ...] | None:
        return None if self._rescale else ("value", "tries", "conversions")

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:  # noqa: ARG002
        value = candidates.value
        if self._rescale:
            value = value / max(float(value.max()), _TINY)
        won = candidates.conversions + self._kappa * value
        lost = candidates.tries + self._kappa - won
        return generator.beta(np.maximum(won, _TINY), np.maximum(lost, _TINY))
