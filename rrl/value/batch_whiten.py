"""REINFORCE++: returns whitened over the whole batch, so that one sample a start is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rrl.ops.advantage import whiten
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.calibration import calibration
from rrl.value.counts import SuccessCounts
from rrl.value.groups import estimated_by, returns_to_go


class BatchWhiten:
    """A_u = (G_u - mean) / (std + 1e-8) over all tokens of a stream on all ranks, G_u = sum of rewards from u on.

    Hu et al., 2501.03262: the global batch's mean is the baseline, whichever problem a row is of; its token KL
    belongs to the reward (``reward=kl_shaped``). Fresh and replayed rows are whitened apart, never together: easy
    replayed rows would push every fresh advantage below zero. Zero where all returns of a stream are equal.
    P(solved) comes from running counts (``rrl.value.counts``).
    """

    min_samples_per_start = 1
    spent_tokens = 0

    def __init__(self, *, ranks: Ranks, kappa: float, decay: float) -> None:
        """See conf/value/batch_whiten.yaml. Raises ValueError for numbers out of range."""
        self._ranks, self._counts = ranks, SuccessCounts(ranks=ranks, kappa=kappa, decay=decay)

    def estimate(self, scored: Scored) -> Estimated:
        """Whitened advantages; success is what was believed before this step's outcomes."""
        sequences, to_go = scored.rollouts.sequences, returns_to_go(scored)
        stream = torch.tensor([s.stream for s in sequences.starts], dtype=torch.int64)[sequences.start_index]
        of_token = torch.repeat_interleave(stream, sequences.lengths)
        blank = torch.zeros(3, dtype=torch.float64)
        count = self._ranks.sum(blank.index_add(0, of_token, torch.ones(len(to_go), dtype=torch.float64)).tolist())
        total = self._ranks.sum(blank.index_add(0, of_token, to_go.double()).tolist())
        baseline = [total[s] / count[s] for s in stream.tolist()]
        estimated = estimated_by(scored, to_go, baseline, None, self.success(sequences.starts)[0])
        return replace(estimated, advantage=whiten(to_go, of_token, num_segments=3, total=self._ranks.sum))

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
