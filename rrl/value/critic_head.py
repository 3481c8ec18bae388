"""A critic on the policy's own trunk: half the memory, one network to serve, and it interferes.

With ``detach`` the heads only read the policy's hidden states. Without it the value loss also trains
the policy's trunk, here and with this room's own Adam, also during value warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from rrl.protocols import Policy, Task
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.fitted import FittedHeads
from rrl.value.fitting import Fitting
from rrl.value.heads import Estimation, Heads
from rrl.value.losses import BoundedLoss


class CriticHead:
    """Bounded value and success heads on ``policy.shared_trunk``; advantages by GAE (1506.02438, eq. 16)."""

    min_samples_per_start = 1
    spent_tokens = 0

    def __init__(
        self,
        *,
        policy: Policy,
        task: Task,
        ranks: Ranks,
        seed: int,
        detach: bool,
        gamma: float,
        lam_actor: float,
        lam_critic: float,
        lam_alpha: float,
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
        """See conf/value/critic_head.yaml. Raises ValueError for numbers out of range."""
        trunk = policy.shared_trunk(detach=detach)
        heads = Heads(
            width=trunk.width, score_range=task.score_range, like=next(policy.parameters()), members=1
        )
        trained = [] if detach else [p for p in trunk.parameters() if p.requires_grad]
        self._fitted = FittedHeads(
            trunk=trunk, heads=heads, own=[*heads.parameters()], trained=trained,
            losses=BoundedLoss(loss=loss, success_coef=success_coef, value_clip=value_clip).of(heads),
            estimation=Estimation(
                gamma=gamma, lam_actor=lam_actor, lam_critic=lam_critic, lam_alpha=lam_alpha,
                bootstrap_truncated=bootstrap_truncated, normalise=normalise, micro_batch_rows=micro_batch_rows,
            ),
            fitting=Fitting(
                lr=lr, lr_final_frac=lr_final_frac, betas=betas, eps=eps, grad_norm=grad_norm, epochs=epochs,
                minibatches=minibatches, warm_up_steps=warm_up_steps, micro_batch_rows=micro_batch_rows,
            ),
            ranks=ranks, seed=seed,
        )  # fmt: skip

    def estimate(self, scored: Scored) -> Estimated:
        """Value, success, advantage and target of every sampled token."""
        return self._fitted.estimate(scored)

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(P(solved), zeros) of each start: one critic knows no spread."""
        return self._fitted.success(starts)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:
        """Fit value and success to the step's rows; how well they were calibrated before."""
        return self._fitted.fit(estimated, progress)

    def state_dict(self) -> dict[str, Any]:
        """Weights of the heads and Adam's moments; the trunk is saved with the policy."""
        return self._fitted.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore. Raises ValueError when the sizes differ."""
        self._fitted.load_state_dict(state)
