"""What heads are told about each token, and how far a bounded value and P(solved) are from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from rrl.value.heads import Heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Of B tokens: target_return and solved (0 or 1) are what happened, old_value what was thought before.
    row: number of the token's row in the step, over all ranks; it names noise together with ``step``."""

    target_return: Float[Tensor, "B"]
    solved: Float[Tensor, "B"]
    old_value: Float[Tensor, "B"]
    row: Int64[Tensor, "B"]
    step: int


# (logits [B, ...], labels) -> loss of each token [B]
Losses = Callable[[Tensor, Labels], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedLoss:
    """Numbers of ``token_losses``; see conf/value/critic.yaml for units and reasons."""

    loss: Literal["bce", "mse"]
    success_coef: float
    value_clip: float

    def __post_init__(self) -> None:
        if self.loss not in ("bce", "mse"):
            raise ValueError(f"value.loss is {self.loss!r}; expected bce or mse")
        for name in ("success_coef", "value_clip"):
            if getattr(self, name) < 0:
                raise ValueError(f"value.{name} is {getattr(self, name)}; expected >= 0")

    def of(self, heads: Heads) -> Losses:
        """``token_losses`` of a critic with one pair of heads."""
        return lambda logits, labels: token_losses(heads, logits, labels, how=self)


def token_losses(heads: Heads, logits: Float[Tensor, "B 2"], labels: Labels, *, how: BoundedLoss) -> Float[Tensor, "B"]:
    """Value loss + success_coef x cross-entropy of P(solved), of each token.

    With p = sigmoid(z_0) and y = (target - low) / (high - low) the value loss is
    -y log p - (1 - y) log(1 - p) or (p - y)^2, both on the unit range. With value_clip c > 0 it is
    the larger of that and the same at p_old + clip(p - p_old, -c, c): no reward for leaving the old
    value by more than c in one step (OpenAI baselines' ppo2).
    """
    y = heads.normalise(labels.target_return)
    per_token = partial(F.mse_loss, reduction="none")
    if how.loss == "bce":
        y = y.clamp(0.0, 1.0)  # shaped rewards may leave the score range; cross-entropy needs [0, 1]
        per_token = partial(F.binary_cross_entropy, reduction="none")
    p = torch.sigmoid(logits[:, 0])
    if how.loss == "bce":
        value_loss = F.binary_cross_entropy_with_logits(logits[:, 0], y, reduction="none")
    else:
        value_loss = per_token(p, y)
    if how.value_clip:
        p_old = heads.normalise(labels.old_value)
        bounded = (p_old + (p - p_old).clamp(-how.value_clip, how.value_clip)).clamp(0.0, 1.0)
        value_loss = torch.maximum(value_loss, per_token(bounded, y))
    success_loss = F.binary_cross_entropy_with_logits(logits[:, 1], labels.solved, reduction="none")
    return value_loss + how.success_coef * success_loss
