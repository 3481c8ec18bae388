"""A separate critic: its own trunk of the policy's family under two bounded heads.

The default. Interferes with nothing: the policy's weights never feel the value loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from rrl.ops.optimizer import adam_state, load_adam_state
from rrl.protocols import Policy, Task
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value import heads as reading
from rrl.value.fitting import Fitting, fit_heads


class Critic:
    """Bounded value and success, fitted by Adam; advantages by GAE (1506.02438, eq. 16)."""

    min_samples_per_start = 1

    def __init__(
        self,
        *,
        policy: Policy,
        task: Task,
        ranks: Ranks,
        seed: int,
        init: Literal["scratch", "policy"],
        num_layers: int,
        gamma: float,
        lam_actor: float,
        lam_critic: float,
        bootstrap_truncated: bool,
        normalise: Literal["none", "per_stream"],
        loss: Literal["bce", "mse"],
        success_coef: float,
        value_clip: float,
        lr: float,
        lr_final_frac: float,
        betas: tuple[float, ...],
        eps: float,
        epochs: int,
        minibatches: int,
        warm_up_steps: int,
        grad_norm: float,
        micro_batch_rows: int,
    ) -> None:
        """See conf/value/critic.yaml. Raises ValueError for numbers out of range."""
        self._ranks, self._seed = ranks, seed
        self._estimation = reading.Estimation(
            gamma=gamma, lam_actor=lam_actor, lam_critic=lam_critic, bootstrap_truncated=bootstrap_truncated,
            normalise=normalise, micro_batch_rows=micro_batch_rows,
        )
        self._fitting = Fitting(
            loss=loss, success_coef=success_coef, value_clip=value_clip,
            lr=lr, lr_final_frac=lr_final_frac, betas=betas, eps=eps, grad_norm=grad_norm,
            epochs=epochs, minibatches=minibatches, warm_up_steps=warm_up_steps, micro_batch_rows=micro_batch_rows,
        )
        self._trunk = policy.trunk(init=init, num_layers=num_layers, seed=seed)
        self._heads = reading.Heads(
            width=self._trunk.width, score_range=task.score_range, like=next(self._trunk.parameters())
        )
        self._parameters = [*self._trunk.parameters(), *self._heads.parameters()]
        self._optimizer = self._fitting.optimizer(self._parameters)

    def estimate(self, scored: Scored) -> Estimated:
        """Value, success, advantage and target of every sampled token."""
        return reading.estimate(self._trunk, self._heads, scored, self._estimation, self._ranks)

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(P(solved), zeros) of each start."""
        return reading.success(self._trunk, self._heads, starts, self._estimation.micro_batch_rows)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:
        """Fit value and success to the step's rows; how well they were calibrated before."""
        return fit_heads(
            self._trunk, self._heads, self._optimizer, estimated, progress,
            how=self._fitting, ranks=self._ranks, seed=self._seed,
        )

    def state_dict(self) -> dict[str, Any]:
        """Weights of trunk and heads, and Adam's moments."""
        return {
            "parameters": [p.detach().clone() for p in self._parameters],
            "optimizer": adam_state(self._optimizer),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore. Raises ValueError when the sizes differ."""
        load_adam_state(self._optimizer, state["optimizer"])
        with torch.no_grad():
            for mine, saved in zip(self._parameters, state["parameters"], strict=True):
                mine.copy_(saved)
