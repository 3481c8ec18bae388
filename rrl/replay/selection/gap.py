"""The gap between what a state yields and what the bare prompt yields."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.records import Candidates, Progress
from rrl.replay.posterior import posterior_mean


class Gap:
    """max(p - e_p, 0) with the posterior mean p = (c + kappa V) / (n + kappa); deterministic but for ties.

    Args:
        kappa: how many tries the value is worth, > 0.
    """

    def __init__(self, *, kappa: float) -> None:
        if kappa <= 0.0:
            raise ValueError(f"replay.selection.kappa is {kappa}; expected > 0")
        self._kappa = kappa

    @property
    def reads(self) -> tuple[str, ...]:
        return ("value", "tries", "conversions", "root_success")

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:  # noqa: ARG002
        mean = posterior_mean(candidates.conversions, candidates.tries, candidates.value, self._kappa)
        gap: np.ndarray = np.maximum(mean - candidates.root_success, 0.0)
        return gap
