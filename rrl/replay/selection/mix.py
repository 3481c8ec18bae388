"""Several selections at once: their rankings averaged."""

from __future__ import annotations

import numpy as np

from rrl.protocols import LearningSelection, Selection
from rrl.records import Candidates, Progress


class Mix:
    """sum_k w_k r_k / sum_k w_k, r_k in [0, 1] the place of a state in selection k: 1 = highest, equals share.

    Places, not scores: a posterior draw and a visit count have no common unit.

    Args:
        parts: name -> selection, at least one; none that learns, since a part hears of picks that were not its own.
        weights: name -> weight >= 0, of the same names, not all 0.
    """

    def __init__(self, *, parts: dict[str, Selection], weights: dict[str, float]) -> None:
        if not parts or parts.keys() != weights.keys():
            raise ValueError(f"replay.selection.weights names {sorted(weights)}; expected one weight for each of "
                             f"replay.selection.parts, {sorted(parts)}")
        if min(weights.values()) < 0.0 or sum(weights.values()) <= 0.0:
            raise ValueError(f"replay.selection.weights is {weights}; expected numbers >= 0, not all 0")
        if learning := sorted(name for name, part in parts.items() if isinstance(part, LearningSelection)):
            raise ValueError(f"replay.selection.parts.{learning[0]} learns from its own picks, which a mix overrules; "
                             "expected options without a memory, e.g. thompson")
        total = sum(weights.values())
        self._parts = [(parts[name], weights[name] / total) for name in sorted(parts)]

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:
        scores = np.zeros(len(candidates))
        for part, weight in self._parts:
            scores += weight * places(part.rank(candidates, progress, generator))
        return scores


def places(scores: np.ndarray) -> np.ndarray:
    """Share of the others that a score is above, an equal one counting half; 1 for a score alone.

    Example: (.3, .9, .3) -> (.25, 1, .25).
    """
    size = len(scores)
    if size == 1:
        return np.ones(1)
    above = (scores[:, None] > scores).sum(1) + 0.5 * ((scores[:, None] == scores).sum(1) - 1)
    share: np.ndarray = above / (size - 1)
    return share
