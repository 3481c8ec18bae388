"""P(solved) without a critic: running counts with Beta posteriors, shared by every critic-free estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.ranks import Ranks
from rrl.types import Estimated, Start
from rrl.value.groups import totals

# Starts counted, about 150 bytes each. A store hands out new prefixes for ever; the longest unseen one is forgotten.
_MOST_KEYS = 100_000
_RUN = "run"  # key of the counts over all fresh rows; other keys are digests of 16 hex digits


class SuccessCounts:
    """Beta(c + kappa p, n - c + kappa (1 - p)) of each start, c of n tries solved.

    Shrunk in three steps: the run's fresh rows, the problem's fresh rows, the start's own rows; the prior mean p of
    each is the posterior mean of the step before, worth ``kappa`` tries: m = (c + kappa p) / (n + kappa).
    """

    def __init__(self, *, ranks: Ranks, kappa: float, decay: float) -> None:
        """kappa: tries, > 0.  decay: of old tries, (0, 1].  Raises ValueError for numbers out of range."""
        if kappa <= 0.0:
            raise ValueError(f"value.kappa is {kappa}; expected > 0 tries")
        if not 0.0 < decay <= 1.0:
            raise ValueError(f"value.decay is {decay}; expected a number in (0, 1]")
        self._ranks, self._kappa, self._decay = ranks, kappa, decay
        self._counts: dict[str, tuple[float, float]] = {}  # key -> (solved, tries), both decayed

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(mean, standard deviation) of the Beta posterior of P(solved) from each start."""
        beliefs = [self._belief(start) for start in starts]
        mean = np.array([m for m, _ in beliefs], dtype=np.float64)
        return mean, np.array([s for _, s in beliefs], dtype=np.float64)

    def observe(self, estimated: Estimated) -> None:
        """Count the step's outcomes, grouped by start, so that row order cannot matter."""
        sequences = estimated.sequences
        starts = [sequences.starts[i] for i in sequences.start_index.tolist()]
        solved = estimated.scored.solved.tolist()
        fresh = [float(y) for s, y in zip(starts, solved, strict=True) if not s.replayed]
        seen = totals(self._ranks, [s.key for s in starts], [float(y) for y in solved])
        seen |= totals(self._ranks, [_RUN] * len(fresh), fresh)
        for key, (new_solved, new_tries) in sorted(seen.items()):
            # The run's counts must not fade with every row, or they would hold one step only.
            fade = self._decay if key == _RUN else self._decay**new_tries
            old_solved, old_tries = self._counts.pop(key, (0.0, 0.0))
            self._counts[key] = (fade * old_solved + new_solved, fade * old_tries + new_tries)
        while len(self._counts) > _MOST_KEYS:
            del self._counts[next(iter(self._counts))]

    def state_dict(self) -> dict[str, Any]:
        """The counts, the longest unseen start first."""
        return {"keys": list(self._counts), "counts": np.array(list(self._counts.values())).reshape(-1, 2)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counts."""
        pairs = zip(state["keys"], np.asarray(state["counts"]).tolist(), strict=True)
        self._counts = {key: (solved, tries) for key, (solved, tries) in pairs}

    def _belief(self, start: Start) -> tuple[float, float]:
        keys = [_RUN, Start(problem=start.problem).key] + ([start.key] if start.replayed else [])
        mean, pseudo = 0.5, self._kappa
        for key in keys:
            solved, tries = self._counts.get(key, (0.0, 0.0))
            pseudo = tries + self._kappa
            mean = (solved + self._kappa * mean) / pseudo
        return mean, math.sqrt(mean * (1.0 - mean) / (pseudo + 1.0))
