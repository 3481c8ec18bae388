"""Only problems whose latest fresh attempts all failed: compute where it is needed."""

from __future__ import annotations

import numpy as np


class AllFailed:
    """1 where e_p < below, else 0.

    A fresh row solved k rows ago leaves at least (1 - d) d^(k - 1) in e_p, d = replay.root_decay. So ``below`` =
    (1 - d) d^(m - 1) makes sure that the last m fresh rows of a chosen problem all failed (BREAD and BAPO replay
    by failed groups). The converse does not hold: a problem that was mostly solved once needs more failures.

    Args:
        below: success rate of the bare prompt from which a problem is not replayed, (0, 1].
    """

    def __init__(self, *, below: float) -> None:
        if not 0.0 < below <= 1.0:
            raise ValueError(f"replay.problem_weight.below is {below}; expected a number in (0, 1]")
        self._below = below

    def weight(self, root_success: np.ndarray, replays: np.ndarray) -> np.ndarray:  # noqa: ARG002
        return (root_success < self._below).astype(np.float64)
