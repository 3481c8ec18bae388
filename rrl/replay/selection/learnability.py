"""Most to learn where success is a coin flip."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.records import Candidates, Progress
from rrl.replay.posterior import posterior_mean


class Learnability:
    """p (1 - p) with the posterior mean p = (c + kappa V) / (n + kappa).

    It drops a state exactly when it is known to work, so prefix credit stops before the bare prompt has learned.

    Args:
        kappa: how many tries the value is worth, > 0.
    """

    def __init__(self, *, kappa: float) -> None:
        if kappa <= 0.0:
            raise ValueError(f"replay.selection.kappa is {kappa}; expected > 0")
        self._kappa = kappa

    @property
    def reads(self) -> tuple[str, ...]:
        return ("value", "tries", "conversions")

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:  # noqa: ARG002
        mean = posterior_mean(candidates.conversions, candidates.tries, candidates.value, self._kappa)
        return mean * (1.0 - mean)
