"""Prioritised experience replay: states whose way on surprised the value estimator."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class TdError:
    """Weight (td + epsilon)^alpha (Schaul et al., 2016, arXiv 1511.05952, eq. 1), td as in ``rrl.replay.surprise``.

    Their importance weights (1 / N q)^beta have no place here: they undo the change of the distribution that a *loss*
    is averaged over, and a start's distribution is changed on purpose. ``replay.eps_uniform`` bounds the change.

    Args:
        alpha: how greedy, >= 0; 0 = uniform.
        epsilon: what a state without any surprise weighs, P(solved), > 0.
    """

    def __init__(self, *, alpha: float, epsilon: float) -> None:
        if alpha < 0.0 or epsilon <= 0.0:
            raise ValueError(f"replay.selection.alpha is {alpha} and epsilon {epsilon}; expected alpha >= 0 and "
                             "epsilon > 0")
        self._alpha, self._epsilon = alpha, epsilon

    @property
    def reads(self) -> tuple[str, ...]:
        return ("td",)

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:  # noqa: ARG002
        return race_scores((candidates.td + self._epsilon) ** self._alpha, generator)
