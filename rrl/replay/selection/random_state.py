"""Every state alike: the control that asks whether judging states matters."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.records import Candidates, Progress


class RandomState:
    """A uniform score for each state."""

    def __init__(self) -> None:
        return None

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:  # noqa: ARG002
        return generator.random(len(candidates))
