"""The truth: scores and policy losses from hidden states in plain torch, short enough to check by eye.

Holds all logits; works in any floating dtype, float64 included, and is differentiated by autograd.
Legend: T rows, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rrl_kernels.logits import reference


def linear_logprob(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, temperature: float, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """(log p[target], entropy) of p = softmax(cap tanh((hidden weight^T + bias) / cap) / temperature)."""
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return reference.logprob_entropy(logits, targets, temperature, softcap)


def linear_policy_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, token_loss: Callable[[Tensor, Tensor], Tensor],
    bias: Tensor | None, temperature: float, softcap: float | None,
) -> Tensor:
    """The loss of all rows at once; ``token_loss`` (logprob, entropy) -> scalar is differentiated by autograd."""
    return token_loss(*linear_logprob(hidden, weight, targets, bias, temperature, softcap))
