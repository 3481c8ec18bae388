"""Promising states as long as they are young: the opposite of what retrospective replay claims, to test it."""

from __future__ import annotations

import numpy as np

from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class Freshness:
    """Weight V(s) exp(-age / tau), age = steps since the state was stored (as FreshPER does with priorities).

    Args:
        tau: steps in which a weight falls to 1 / e, > 0.
    """

    def __init__(self, *, tau: float) -> None:
        if tau <= 0.0:
            raise ValueError(f"replay.selection.tau is {tau}; expected > 0")
        self._tau = tau

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        older = (candidates.born_step.max() - candidates.born_step).astype(np.float64)  # than the youngest: only
        return race_scores(candidates.value * np.exp(-older / self._tau), generator)  # ratios matter
