"""Scores of any scale made probabilities: Platt scaling on what became of the run's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.ranks import Ranks


class Platt:
    """P(solved) = sigmoid(slope x score + offset), fitted by maximum a posteriori on the last ``window`` states.

    Platt, Probabilistic outputs for support vector machines, 1999; in place of his smoothed targets a standard normal
    prior around (1, 0), which keeps both numbers finite where scores separate what was solved. It begins at (1, 0):
    the score read as log-odds. All states of a row weigh 1 together: they share one outcome.
    """

    def __init__(self, *, ranks: Ranks, window: int) -> None:
        """window: states remembered, >= 1. Raises ValueError for fewer."""
        if window < 1:
            raise ValueError(f"value.window is {window}; expected >= 1 states to calibrate on")
        self._ranks, self._window = ranks, window
        self.slope, self.offset = 1.0, 0.0
        self._seen = np.zeros((0, 3))  # score, solved, weight

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """P(solved) of each score."""
        return _sigmoid(self.slope * scores + self.offset)

    def observe(self, seen: Sequence[tuple[float, float, float]]) -> None:
        """Take in this rank's (score, solved, weight) and fit again; every rank calls it."""
        new = np.array(self._ranks.gather(list(seen)), dtype=np.float64).reshape(-1, 3)
        self._seen = np.concatenate([self._seen, new])[-self._window :]
        if len(self._seen):
            self.slope, self.offset = fitted(*self._seen.T)

    def state_dict(self) -> dict[str, Any]:
        """Both numbers and the window."""
        return {"slope": self.slope, "offset": self.offset, "seen": self._seen.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore."""
        self.slope, self.offset = float(state["slope"]), float(state["offset"])
        self._seen = np.asarray(state["seen"], dtype=np.float64).reshape(-1, 3).copy()


def fitted(score: np.ndarray, solved: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """(slope a, offset b) that minimise sum w CE(solved, sigmoid(a score + b)) + ((a - 1)^2 + b^2) / 2.

    Strictly convex; Newton's method, each step halved until it goes down.
    """
    features = np.stack([score, np.ones_like(score)], axis=1)
    prior = at = np.array([1.0, 0.0])

    def loss(x: np.ndarray) -> float:
        z = features @ x
        return float(weight @ (np.logaddexp(0.0, z) - solved * z) + ((x - prior) ** 2).sum() / 2)

    for _ in range(100):
        p = _sigmoid(features @ at)
        gradient = features.T @ (weight * (p - solved)) + at - prior
        if np.abs(gradient).max() <= 1e-10 * max(1.0, np.abs(features).max()) * max(weight.sum(), 1.0):
            break
        hessian = (features * (weight * p * (1 - p))[:, None]).T @ features + np.eye(2)
        step, here = np.linalg.solve(hessian, gradient), loss(at)
        size = 1.0
        while loss(at - size * step) > here and size > 1e-9:
            size /= 2
        at = at - size * step
    return float(at[0]), float(at[1])


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))
