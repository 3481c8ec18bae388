"""The truth: scores from hidden states in plain torch, short enough to check by eye.

Holds all logits; works in any floating dtype, float64 included, and is differentiated by autograd.
Legend: T rows, H hidden size, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrl_kernels.logits import reference


def linear_logprob(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, temperature: float, softcap: float | None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(log p[target], entropy) of p = softmax(cap tanh((hidden weight^T + bias) / cap) / temperature).

    0 where ``mask`` is False. Half precision is read as float32.
    """
    hidden, weight = (x if x.dtype == torch.float64 else x.float() for x in (hidden, weight))
    logits = torch.nn.functional.linear(hidden, weight, None if bias is None else bias.to(weight.dtype))
    return reference.logprob_entropy(logits, targets, temperature, softcap, mask)
