"""RLOO: a row's baseline is the mean return of the other rows of its start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.calibration import calibration
from rrl.value.counts import SuccessCounts
from rrl.value.groups import estimated_by, returns_to_go, rows_of, totals


class LeaveOneOut:
    """A_u = G_u - mean over the group's other rows of G_0, G_u = sum of rewards from u on.

    Kool et al. (2019); for language models Ahmadian et al., 2402.14740. Unlike the group's mean the baseline does
    not contain the row itself, so the gradient is unbiased; on terminal rewards it is n/(n - 1) times
    ``group_mean``'s. A group of one has no others: advantage 0 and its own return as value, so
    run.samples_per_start >= 2. P(solved) comes from running counts (``rrl.value.counts``).
    """

    min_samples_per_start = 2  # a group of one row is its own baseline: nothing to learn
    spent_tokens = 0

    def __init__(self, *, ranks: Ranks, kappa: float, decay: float) -> None:
        """See conf/value/leave_one_out.yaml. Raises ValueError for numbers out of range."""
        self._ranks, self._counts = ranks, SuccessCounts(ranks=ranks, kappa=kappa, decay=decay)

    def estimate(self, scored: Scored) -> Estimated:
        """Leave-one-out advantages; success is what was believed before this step's outcomes."""
        to_go = returns_to_go(scored)
        keys, returns = rows_of(scored, to_go)
        sums = totals(self._ranks, keys, returns)
        others = [(sums[k][0] - x, sums[k][1] - 1) for k, x in zip(keys, returns, strict=True)]
        baseline = [total / num if num else x for (total, num), x in zip(others, returns, strict=True)]
        scale = [1.0 if num else 0.0 for _, num in others]
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
