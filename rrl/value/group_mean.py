"""No critic: a row's baseline is the mean return of its group, all rows of one start.

Two prefixes of one problem are two groups: mixed, the better prefix would look like the better
continuation. The advantage's baseline needs several samples a start (run.samples_per_start >= 2);
what replay asks for, P(solved) of a start, comes from running counts.
"""

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


class GroupMean:
    """A_u = G_u - mean over the group of G_0, G_u = sum of rewards from u on (undiscounted).

    Zero for all-equal rewards, and for a group of one. P(solved) is shrunk in three steps: the run's
    fresh rows, the problem's fresh rows, the start's own rows; each is a Beta posterior whose prior
    is the step before, worth ``kappa`` tries: m = (c + kappa m_prior) / (n + kappa).
    """

    min_samples_per_start = 2  # a group of one row is its own baseline: nothing to learn
    spent_tokens = 0

    def __init__(self, *, ranks: Ranks, kappa: float, decay: float) -> None:
        """See conf/value/group_mean.yaml. Raises ValueError for numbers out of range."""
        self._ranks, self._counts = ranks, SuccessCounts(ranks=ranks, kappa=kappa, decay=decay)

    def estimate(self, scored: Scored) -> Estimated:
        """Group-mean advantages; success is what was believed before this step's outcomes."""
        to_go = returns_to_go(scored)
        keys, returns = rows_of(scored, to_go)
        sums = totals(self._ranks, keys, returns)
        baseline = [sums[k][0] / sums[k][1] for k in keys]
        return estimated_by(scored, to_go, baseline, None, self.success(scored.rollouts.sequences.starts)[0])

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
