"""States in proportion to what their value promises beyond the bare prompt's value."""

from __future__ import annotations

import numpy as np

from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class Gain:
    """Weight exp(g / tau) - 1 with g = max(0, V(s) - V(x)); states that promise no more than the prompt come last.

    The plain exp(g / tau) would be ``value_softmax`` again: among the states of one problem V(x) cancels. The bare
    prompt's value is 0 until its problem is first re-scored.

    Args:
        tau: temperature, P(solved), > 0; large values make the weight linear in g.
    """

    def __init__(self, *, tau: float) -> None:
        if tau <= 0.0:
            raise ValueError(f"replay.selection.tau is {tau}; expected > 0")
        self._tau = tau

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        gain = np.maximum(candidates.value - candidates.root_value, 0.0)
        # exp(g/tau) - 1 over exp(max g/tau), so that a small tau does not overflow
        weight = -np.expm1(-gain / self._tau) * np.exp((gain - gain.max()) / self._tau)
        return race_scores(weight, generator)
