"""Logits of a chunk of rows, in the dtype that was asked for: what sampling, scoring and training share."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_logits(
    hidden: Tensor, weight: Tensor, *, bias: Tensor | None, softcap: float | None, logits_dtype: torch.dtype
) -> Tensor:
    """cap tanh((hidden weight^T + bias) / cap); without a cap where ``softcap`` is None.

    Products of half-precision numbers are summed in float32 and rounded once, to ``logits_dtype``.

    Args:
      hidden: [C, H].
      weight: [V, H], same dtype.
      bias: [V] or None.
      softcap: > 0 (Gemma 2's final_logit_softcapping) or None.
      logits_dtype: float32 or wider, or the dtype of ``weight``.
    Returns:
      [C, V] in ``logits_dtype``.
    """
    if hidden.dtype == logits_dtype:
        logits = hidden @ weight.t()
    elif hidden.is_cuda and not torch.is_grad_enabled():
        logits = torch.mm(hidden, weight.t(), out_dtype=logits_dtype)  # tensor cores, float32 epilogue
    else:
        logits = hidden.to(logits_dtype) @ weight.t().to(logits_dtype)
    if bias is not None:
        logits = logits + bias
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)
