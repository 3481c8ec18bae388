"""The truth: log-probabilities and entropies from logits in plain torch, short enough to check by eye.

Works in any floating dtype, float64 included, and is differentiated by autograd. Slow on purpose.
Legend: C rows (actions), V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor


def logprob_entropy(
    logits: Tensor, targets: Tensor, temperature: float, softcap: float | None = None, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """log p[target] and -sum p log p of p = softmax(cap tanh(logits / cap) / temperature); 0 where ``mask`` is False.

    logits [C, V]; half precision is read as float32.
    """
    if logits.dtype != torch.float64:
        logits = logits.float()
    if mask is not None:  # what is not read may be anything
        logits, targets = logits.masked_fill(~mask[:, None], 0.0), targets * mask
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    log_p = torch.log_softmax(logits / temperature, dim=-1)
    chosen = log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    # p log p is 0 where p is 0; the clamp keeps 0 * -inf from becoming NaN.
    entropy = -(log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min)).sum(-1)
    return (chosen, entropy) if mask is None else (chosen * mask, entropy * mask)
