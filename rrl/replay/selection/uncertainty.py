"""States whose value the estimator does not know."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Noise
from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class Uncertainty:
    """Weight std V(s): replay where the value estimator disagrees with itself (ours).

    Needs an estimator that gives a standard deviation, such as an ensemble. One that gives none writes 0 for every
    state; then all weights are 0 and this is ``random_state``.
    """

    def __init__(self) -> None:
        return None

    @property
    def reads(self) -> tuple[str, ...]:
        return ("value_std",)

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray:  # noqa: ARG002
        return race_scores(candidates.value_std, generator)
