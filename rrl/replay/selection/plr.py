"""Prioritized level replay: by the rank of the value, mixed with what was not replayed for long."""

from __future__ import annotations

import numpy as np

from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class Plr:
    """Weight (1 - rho_s) rank^(-1 / beta) / sum + rho_s idle / sum, rank 1 = the highest value.

    Jiang, Grefenstette and Rocktaeschel, 2020, arXiv 2010.03934, with P(solved) as the score in place of their mean
    |GAE| of the last visit (``td_error`` ranks by surprise). Where nothing has been idle that part is uniform.

    Args:
        beta: temperature of the ranks, > 0; small = greedy.
        stale_frac: rho_s, share by steps since the last replay, [0, 1].
    """

    def __init__(self, *, beta: float, stale_frac: float) -> None:
        if beta <= 0.0 or not 0.0 <= stale_frac <= 1.0:
            raise ValueError(f"replay.selection.beta is {beta} and stale_frac {stale_frac}; expected beta > 0 and a "
                             "share in [0, 1]")
        self._beta, self._stale_frac = beta, stale_frac

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        size = len(candidates)
        place = np.empty(size)
        place[np.lexsort((generator.random(size), -candidates.value))] = np.arange(1, size + 1)  # equals at random
        by_rank = place ** (-1.0 / self._beta)
        idle = np.maximum(candidates.idle, 0).astype(np.float64)
        stale = idle if idle.any() else np.ones(size)
        weight = (1.0 - self._stale_frac) * by_rank / by_rank.sum() + self._stale_frac * stale / stale.sum()
        return race_scores(weight, generator)
