"""States in proportion to the exponential of their value."""

from __future__ import annotations

import numpy as np

from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class ValueSoftmax:
    """Weight exp(V / tau): a smooth reading of the published selection (RRL, Dou et al., arXiv 2504.14363).

    Args:
        tau: temperature, P(solved), > 0; towards 0 the best value only.
    """

    def __init__(self, *, tau: float) -> None:
        if tau <= 0.0:
            raise ValueError(f"replay.selection.tau is {tau}; expected > 0")
        self._tau = tau

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        value = candidates.value
        return race_scores(np.exp((value - value.max()) / self._tau), generator)
