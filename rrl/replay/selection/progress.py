"""States whose value rose since they were stored: the skill to finish them arrived later."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class ValueProgress:
    """Weight max(0, V_now(s) - V_store(s)) (ours); where no value rose every state alike."""

    def __init__(self) -> None:
        return None

    @property
    def reads(self) -> tuple[str, ...]:
        return ("value", "born_value")

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:  # noqa: ARG002
        return race_scores(np.maximum(candidates.value - candidates.born_value, 0.0), generator)
