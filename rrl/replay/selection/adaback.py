"""How much of a solution to reveal, searched for on each problem by what the last reveal led to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.protocols import Trial
from rrl.records import Candidates, Progress

_WHOLE = (0.0, 1.0)


class AdaBack:
    """Nearest state to a reveal ratio that is drawn from the problem's interval; a stochastic binary search.

    Ratio r ~ Uniform(low, high), low = 0 and high = 1 at first; the state whose t/T is nearest comes first. When the
    rows of a replayed state of depth t/T come back, their solved share decides: at ``threshold`` or above too much was
    revealed, and the interval becomes [0, t/T]; below it too little, and it becomes [t/T, 1]. The end that was not
    tested opens again each time, because the policy that failed or succeeded there has moved on. AdaBack, Amani et al.,
    2506.18110; that the other end opens is our reading. Meant for cuts of solutions (``replay/admission=trace_cuts``).

    Example: threshold .5; depth .75 tried, 1 of 4 rows solved: [.75, 1]. Then .9 tried, 3 of 4 solved: [0, .9].

    Args:
        threshold: solved share of a state's rows in one step from which it counts as mastered, (0, 1].
    """

    def __init__(self, *, threshold: float) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"replay.selection.threshold is {threshold}; expected a number in (0, 1]")
        self._threshold = threshold
        self._intervals: dict[str, tuple[float, float]] = {}

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        low, high = self._intervals.get(candidates.problem, _WHOLE)
        return -np.abs(candidates.depth_frac - generator.uniform(low, high))

    def learn(self, trials: Sequence[Trial]) -> None:
        """Deeper states of a problem first: of two that were tried in one step the shallower one has the last word."""
        for trial in sorted(trials, key=lambda t: (t.problem, -t.depth_frac)):
            mastered = trial.solved >= self._threshold * trial.rows
            self._intervals[trial.problem] = (0.0, trial.depth_frac) if mastered else (trial.depth_frac, 1.0)

    def state_dict(self) -> dict[str, Any]:
        names = sorted(self._intervals)
        ends = [self._intervals[name] for name in names]
        return {"problems": names, "ends": np.array(ends, dtype=np.float64).reshape(-1, 2)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        ends = zip(state["problems"], state["ends"].tolist(), strict=True)
        self._intervals = {name: (low, high) for name, (low, high) in ends}
