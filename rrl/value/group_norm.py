"""GRPO's advantage: a row's return against its group, in units of the group's spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.calibration import calibration
from rrl.value.counts import SuccessCounts
from rrl.value.groups import estimated_by, grouped, returns_to_go, rows_of


class GroupNorm:
    """A_u = (G_u - mean of G_0) / (std of G_0 + eps) over the rows of one start, G_u = sum of rewards from u on.

    Shao et al., 2402.03300, section 4.1.2; std is the sample's (n - 1). Zero for a group of equal returns and for a
    group of one. Dividing by std weighs a start up the closer it is to always or never solved; ``group_mean`` does
    not divide. P(solved) comes from running counts (``rrl.value.counts``).
    """

    min_samples_per_start = 2  # a group of one row is its own baseline: nothing to learn
    spent_tokens = 0

    def __init__(self, *, ranks: Ranks, eps: float, kappa: float, decay: float) -> None:
        """See conf/value/group_norm.yaml. Raises ValueError for numbers out of range."""
        if eps <= 0.0:
            raise ValueError(f"value.eps is {eps}; expected > 0, in units of the score")
        self._eps = eps
        self._ranks, self._counts = ranks, SuccessCounts(ranks=ranks, kappa=kappa, decay=decay)

    def estimate(self, scored: Scored) -> Estimated:
        """Normalised advantages; success is what was believed before this step's outcomes."""
        to_go = returns_to_go(scored)
        keys, returns = rows_of(scored, to_go)
        shape = {key: _shape(xs, self._eps) for key, xs in grouped(self._ranks, keys, returns).items()}
        baseline, scale = [shape[k][0] for k in keys], [shape[k][1] for k in keys]
        return estimated_by(scored, to_go, baseline, scale, self.success(scored.rollouts.sequences.starts)[0])

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(mean, standard deviation) of the Beta posterior of P(solved) from each start."""
        return self._counts.success(starts)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:  # noqa: ARG002 the door's signature
        """Count the step's outcomes."""
        metrics = calibration(estimated, self._ranks)
        self._counts.observe(estimated)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return self._counts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counts."""
        self._counts.load_state_dict(state)


def _shape(returns: Sequence[float], eps: float) -> tuple[float, float]:
    """(mean, 1 / (std + eps)) of one group; the scale is 0 where there is no spread, so that eps cannot blow it up."""
    mean = math.fsum(returns) / len(returns)
    if min(returns) == max(returns):
        return mean, 0.0
    variance = math.fsum((x - mean) ** 2 for x in returns) / (len(returns) - 1)
    return mean, 1.0 / (math.sqrt(variance) + eps)
