"""A table in place of a critic: the baseline is what was solved from this start before, as a Beta posterior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.protocols import Task
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.calibration import calibration
from rrl.value.counts import SuccessCounts
from rrl.value.groups import estimated_by, returns_to_go, rows_of


class TabularPosterior:
    """A_u = G_u - V(start), V = low + (high - low) p, p = posterior mean of Beta(c + kappa p0, n - c + kappa (1 - p0)).

    c of n earlier tries from this start were solved, p0 is the same belief of its problem, and that one's p0 the
    run's (``rrl.value.counts``); low and high are the task's score range, so p is in units of the return. Conjugate
    Beta-Bernoulli updates with forgetting; as a baseline a state-dependent constant, hence unbiased (Williams, 1992).
    Works with one sample a start, where a group's mean is 0. The step's own outcomes are not in its baseline.

    Where every row of the step returned the same, all advantages are 0: the step cannot tell good from bad.
    """

    min_samples_per_start = 1
    spent_tokens = 0

    def __init__(self, *, ranks: Ranks, task: Task, kappa: float, decay: float) -> None:
        """See conf/value/tabular_posterior.yaml. Raises ValueError for numbers out of range."""
        self._low, self._high = task.score_range
        self._ranks, self._counts = ranks, SuccessCounts(ranks=ranks, kappa=kappa, decay=decay)

    def estimate(self, scored: Scored) -> Estimated:
        """Advantages over the belief from before this step's outcomes, which is also what success says."""
        sequences, to_go = scored.rollouts.sequences, returns_to_go(scored)
        mean = self.success(sequences.starts)[0]
        value = self._low + (self._high - self._low) * mean
        baseline = value[sequences.start_index.numpy()].tolist()
        returns = self._ranks.gather(rows_of(scored, to_go)[1])
        scale = [0.0] * len(baseline) if min(returns, default=0.0) == max(returns, default=0.0) else None
        return estimated_by(scored, to_go, baseline, scale, mean)

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
