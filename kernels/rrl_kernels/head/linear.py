"""Logits of some rows, in the dtype that was asked for: what sampling shares with scoring and training."""

from __future__ import annotations

import torch
from torch import Tensor

from rrl_kernels.head.chunks import Layer


def linear_logits(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None, softcap: float | None, logits_dtype: torch.dtype
) -> Tensor:
    """cap tanh((hidden weight^T + bias) / cap); without a cap where ``softcap`` is None.

    Args:
      hidden: [C, H].
      weight: [V, H], same dtype.
      bias: [V] or None.
      softcap: > 0 (Gemma 2's final_logit_softcapping) or None.
      logits_dtype: of the result, at least as wide as the weights; products of half-precision numbers are summed in
        float32 and rounded once, to it.
    Returns:
      [C, V].
    """
    logits = Layer(weight, bias, logits_dtype).logits(hidden)
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)
