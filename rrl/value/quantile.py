"""A critic of the return's whole distribution: a rare success shows in an upper quantile, not in the mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rrl.protocols import Policy, Task
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.fitted import FittedHeads
from rrl.value.fitting import Fitting
from rrl.value.heads import Estimation, bounds, zero_linear
from rrl.value.losses import Labels


class Quantile:
    """N quantiles of the return by quantile regression on Monte-Carlo returns, and P(solved) by a head of its own.

    Dabney et al., QR-DQN, 1710.10044: the value is the quantiles' mean (eq. 2 there), fitted by the quantile Huber loss
    (eq. 10). There is no lam_critic: a return is a sample of the distribution, a mixture of guesses is not.
    P(solved) stays the calibrated probability; in place of its standard deviation stands how far the quantile at level
    ``optimism`` lies above the mean, as a share of the score range, so that mean + 1 deviation is the optimistic view.
    """

    min_samples_per_start = 1
    spent_tokens = 0

    def __init__(
        self,
        *,
        policy: Policy,
        task: Task,
        ranks: Ranks,
        seed: int,
        num_quantiles: int,
        huber: float,
        optimism: float,
        init: str,
        num_layers: int,
        gamma: float,
        lam_actor: float,
        lam_alpha: float,
        bootstrap_truncated: bool,
        normalise: Literal["none", "per_stream"],
        success_coef: float,
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
        """See conf/value/quantile.yaml. Raises ValueError for numbers out of range."""
        for name, number, good, bound in (
            ("num_quantiles", num_quantiles, num_quantiles >= 2, ">= 2"),
            ("huber", huber, huber >= 0.0, ">= 0"),
            ("optimism", optimism, 0.5 <= optimism < 1.0, "a number in [0.5, 1)"),
            ("success_coef", success_coef, success_coef >= 0.0, ">= 0"),
        ):
            if not good:
                raise ValueError(f"value.{name} is {number}; expected {bound}")
        trunk = policy.trunk(init=init, num_layers=num_layers, seed=seed)
        heads = QuantileHeads(
            width=trunk.width, score_range=task.score_range, like=next(trunk.parameters()), num=num_quantiles,
            optimism=optimism,
        )  # fmt: skip
        self._fitted = FittedHeads(
            trunk=trunk, heads=heads, own=[*trunk.parameters(), *heads.parameters()], trained=[],
            losses=lambda logits, labels: quantile_losses(
                heads, logits, labels, huber=huber, success_coef=success_coef
            ),
            estimation=Estimation(
                gamma=gamma, lam_actor=lam_actor, lam_critic=1.0, lam_alpha=lam_alpha,
                bootstrap_truncated=bootstrap_truncated, normalise=normalise, micro_batch_rows=micro_batch_rows,
            ),
            fitting=Fitting(
                lr=lr, lr_final_frac=lr_final_frac, betas=betas, eps=eps, grad_norm=grad_norm, epochs=epochs,
                minibatches=minibatches, warm_up_steps=warm_up_steps, micro_batch_rows=micro_batch_rows,
            ),
            ranks=ranks, seed=seed,
        )  # fmt: skip

    def estimate(self, scored: Scored) -> Estimated:
        """Value (the quantiles' mean), success, advantage and target of every sampled token."""
        return self._fitted.estimate(scored)

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(P(solved), how far the optimistic quantile stands above the mean) of each start."""
        return self._fitted.success(starts)

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:
        """Fit quantiles and success to the step's rows; how well they were calibrated before."""
        return self._fitted.fit(estimated, progress)

    def state_dict(self) -> dict[str, Any]:
        """Weights of trunk and heads, and Adam's moments."""
        return self._fitted.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore. Raises ValueError when the sizes differ."""
        self._fitted.load_state_dict(state)


class QuantileHeads(torch.nn.Module):
    """Quantile i = low + (high - low) sigmoid(z_i), i = 1..N; success = sigmoid(z_{N+1}); z = W hidden + b, 0 at first.

    Quantiles that cross are sorted where they are read; the loss sees each at its own level.
    """

    def __init__(
        self, *, width: int, score_range: tuple[float, float], like: Tensor, num: int, optimism: float
    ) -> None:
        """width: of the trunk.  like: a weight whose device and dtype to take.  num: N.  optimism: see ``Quantile``."""
        super().__init__()
        self.low, self.high = bounds(score_range)
        self.num, self._optimistic = num, int(optimism * num)
        self.linear = zero_linear(width, num + 1, like)

    def forward(self, hidden: Float[Tensor, "B D"]) -> Float[Tensor, "B M"]:
        """Logits of the quantiles, and of success behind them."""
        logits: Tensor = self.linear(hidden.to(self.linear.weight))
        return logits

    def shares(self, logits: Float[Tensor, "B M"]) -> Float[Tensor, "B Q"]:
        """Quantiles as shares of the score range, each at its own level (i - 1/2) / N, not sorted."""
        return torch.sigmoid(logits[:, : self.num])

    def value(self, logits: Float[Tensor, "B M"]) -> Float[Tensor, "B"]:
        """The distribution's mean: that of its quantiles."""
        return self.low + (self.high - self.low) * self.shares(logits).mean(1)

    def success(self, logits: Float[Tensor, "B M"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """(P(solved), distance from the mean up to the quantile in whose N-th of the levels ``optimism`` is)."""
        shares = self.shares(logits)
        above = shares.sort(dim=1).values[:, self._optimistic] - shares.mean(1)
        return torch.sigmoid(logits[:, -1]), above.clamp(min=0.0)


def quantile_losses(
    heads: QuantileHeads, logits: Float[Tensor, "B M"], labels: Labels, *, huber: float, success_coef: float
) -> Float[Tensor, "B"]:
    """Mean over quantiles of |tau_i - 1{u_i < 0}| H(u_i), u_i = y - q_i, + success_coef x cross-entropy of P(solved).

    1710.10044, eq. 9 and 10, on the unit range: H(u) = |u| for huber k = 0; else u^2 / (2 k) within k, |u| - k / 2
    beyond. tau_i = (i - 1/2) / N.
    """
    y = (labels.target_return - heads.low) / (heads.high - heads.low)
    u = y[:, None] - heads.shares(logits)
    tau = (torch.arange(heads.num, device=u.device, dtype=u.dtype) + 0.5) / heads.num
    size = u.abs()
    if huber:
        size = torch.where(size <= huber, u.square() / (2.0 * huber), size - huber / 2.0)
    loss = ((tau - (u.detach() < 0).to(u)).abs() * size).mean(1)
    return loss + success_coef * F.binary_cross_entropy_with_logits(logits[:, -1], labels.solved, reduction="none")
