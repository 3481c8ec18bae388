"""Every state alike: the control that asks whether judging states matters."""

from __future__ import annotations

import numpy as np

from rrl.records import Candidates, Progress


class RandomState:
    """A uniform score for each state."""

    def __init__(self) -> None:
        return None

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        return generator.random(len(candidates))
