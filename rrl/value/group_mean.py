"""No critic: a row's baseline is the mean return of its group, all rows of one start.

Two prefixes of one problem are two groups: mixed, the better prefix would look like the better
continuation. The advantage's baseline needs several samples a start (run.samples_per_start >= 2);
what replay asks for, P(solved) of a start, comes from running counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rrl.ops.advantage import gae
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.calibration import calibration

_RUN = "run"  # key of the counts over all fresh rows; other keys are digests of 16 hex digits


class GroupMean:
    """A_u = G_u - mean over the group of G_0, G_u = sum of rewards from u on (undiscounted).

    Zero for all-equal rewards, and for a group of one. P(solved) is shrunk in three steps: the run's
    fresh rows, the problem's fresh rows, the start's own rows; each is a Beta posterior whose prior
    is the step before, worth ``kappa`` tries: m = (c + kappa m_prior) / (n + kappa).
    """

    def __init__(self, *, ranks: Ranks, kappa: float, decay: float) -> None:
        """See conf/value/group_mean.yaml. Raises ValueError for numbers out of range."""
        if kappa <= 0.0:
            raise ValueError(f"value.kappa is {kappa}; expected > 0 tries")
        if not 0.0 < decay <= 1.0:
            raise ValueError(f"value.decay is {decay}; expected a number in (0, 1]")
        self._ranks, self._kappa, self._decay = ranks, kappa, decay
        self._counts: dict[str, tuple[float, float]] = {}  # key -> (solved, tries), both decayed

    def estimate(self, scored: Scored) -> Estimated:
        """Group-mean advantages; success is what was believed before this step's outcomes."""
        sequences = scored.rollouts.sequences
        keys = [s.key for s in sequences.starts]
        nothing = torch.zeros_like(scored.reward)
        to_go = gae(scored.reward, nothing, torch.zeros(sequences.num_rows), sequences.offsets, gamma=1.0, lam=1.0)
        row_keys = [keys[i] for i in sequences.start_index.tolist()]
        returns = to_go[sequences.offsets[:-1]].tolist()
        totals = self._totals(row_keys, returns)
        baseline = torch.tensor([totals[k][0] / totals[k][1] for k in row_keys], dtype=torch.float64)
        mean = torch.from_numpy(self.success(sequences.starts)[0])[sequences.start_index]
        value = torch.repeat_interleave(baseline, sequences.lengths)
        return Estimated(
            scored=scored,
            value=value.float(),
            success=torch.repeat_interleave(mean, sequences.lengths).float(),
            advantage=(to_go.double() - value).float(),
            target_return=to_go,
        )

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(mean, standard deviation) of the Beta posterior of P(solved) from each start."""
        beliefs = [self._belief(start) for start in starts]
        mean = np.array([m for m, _ in beliefs], dtype=np.float64)
        return mean, np.array([s for _, s in beliefs], dtype=np.float64)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:  # noqa: ARG002 the door's signature
        """Count the step's outcomes, grouped by start, so that row order cannot matter."""
        metrics = calibration(estimated, self._ranks)
        sequences = estimated.sequences
        starts = [sequences.starts[i] for i in sequences.start_index.tolist()]
        solved = estimated.scored.solved.tolist()
        fresh = [float(y) for s, y in zip(starts, solved, strict=True) if not s.replayed]
        seen = self._totals([s.key for s in starts], [float(y) for y in solved])
        seen |= self._totals([_RUN] * len(fresh), fresh)
        for key, (new_solved, new_tries) in sorted(seen.items()):
            # The run's counts must not fade with every row, or they would hold one step only.
            fade = self._decay if key == _RUN else self._decay**new_tries
            old_solved, old_tries = self._counts.get(key, (0.0, 0.0))
            self._counts[key] = (fade * old_solved + new_solved, fade * old_tries + new_tries)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"keys": list(self._counts), "counts": np.array(list(self._counts.values())).reshape(-1, 2)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the counts."""
        pairs = zip(state["keys"], np.asarray(state["counts"]).tolist(), strict=True)
        self._counts = {key: (solved, tries) for key, (solved, tries) in pairs}

    def _totals(self, keys: Sequence[str], numbers: Sequence[float]) -> dict[str, tuple[float, int]]:
        """key -> (sum of its numbers, how many), over all ranks."""
        grouped: dict[str, list[float]] = {}
        for key, x in self._ranks.gather(list(zip(keys, numbers, strict=True))):
            grouped.setdefault(key, []).append(x)
        # fsum is exact, hence independent of row order; equal numbers give exactly their mean.
        return {key: (math.fsum(xs), len(xs)) for key, xs in grouped.items()}

    def _belief(self, start: Start) -> tuple[float, float]:
        keys = [_RUN, Start(problem=start.problem).key] + ([start.key] if start.replayed else [])
        mean, pseudo = 0.5, self._kappa
        for key in keys:
            solved, tries = self._counts.get(key, (0.0, 0.0))
            pseudo = tries + self._kappa
            mean = (solved + self._kappa * mean) / pseudo
        return mean, math.sqrt(mean * (1.0 - mean) / (pseudo + 1.0))
