"""A trunk under bounded heads, with the Adam that fits them: what every estimator that learns is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rrl.ops.optimizer import adam_state, load_adam_state
from rrl.protocols import Trunk
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value import heads as reading
from rrl.value.calibration import calibration
from rrl.value.fitting import Fitting, fit_heads
from rrl.value.losses import Losses


class FittedHeads:
    """Estimates by GAE on the heads' values (1506.02438, eq. 16), fitted to each step's rows.

    Args:
      trunk, heads, losses: what is read, and how wrong it is.
      own: parameters saved with the estimator.
      trained: further parameters that the fit moves and somebody else saves.
      estimation, fitting: how it is read and fitted.
    """

    def __init__(
        self, *, trunk: Trunk, heads: reading.ReadHeads, losses: Losses, own: Sequence[torch.nn.Parameter],
        trained: Sequence[torch.nn.Parameter], estimation: reading.Estimation, fitting: Fitting, ranks: Ranks,
        seed: int,
    ) -> None:
        self._trunk, self._heads, self._losses = trunk, heads, losses
        self._own, self._ranks, self._seed = list(own), ranks, seed
        self._estimation, self._fitting = estimation, fitting
        self._optimizer = fitting.optimizer([*own, *trained])

    def estimate(self, scored: Scored) -> Estimated:
        """Value, success, advantage and target of every sampled token."""
        return reading.estimate(self._trunk, self._heads, scored, self._estimation, self._ranks)

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(P(solved), standard deviation) of each start."""
        return reading.success(self._trunk, self._heads, starts, self._estimation.micro_batch_rows)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:
        """Fit the heads to the step's rows; how well they were calibrated before."""
        return calibration(estimated, self._ranks) | fit_heads(
            self._trunk, self._heads, self._optimizer, estimated, progress,
            losses=self._losses, how=self._fitting, ranks=self._ranks, seed=self._seed,
        )

    def state_dict(self) -> dict[str, Any]:
        """Its own weights, and Adam's moments."""
        return {"parameters": [p.detach().clone() for p in self._own], "optimizer": adam_state(self._optimizer)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore. Raises ValueError when the sizes differ."""
        load_adam_state(self._optimizer, state["optimizer"])
        with torch.no_grad():
            for mine, saved in zip(self._own, state["parameters"], strict=True):
                if mine.shape != saved.shape:  # copy_ would spread a smaller one
                    raise ValueError(f"a parameter of the value is {list(saved.shape)}; expected {list(mine.shape)}")
                mine.copy_(saved)
