"""States that were tried seldom, no critic asked."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class Novelty:
    """Weight 1 / sqrt(n + 1), decayed tries n: Go-Explore's visit count (Ecoffet et al., arXiv 2004.12919)."""

    def __init__(self) -> None:
        return None

    @property
    def reads(self) -> tuple[str, ...]:
        return ("tries",)

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:  # noqa: ARG002
        return race_scores(1.0 / np.sqrt(candidates.tries + 1.0), generator)
