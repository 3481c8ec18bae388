"""The truth: every operation in plain torch, short enough to check against its formula by eye.

Works in any floating dtype, float64 included, and is differentiated by autograd. Slow on purpose.
Legend: C rows (actions), V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor


def logprob_entropy(logits: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """log p[target] and -sum p log p of p = softmax(logits / temperature). logits [C, V], targets [C]."""
    log_p = torch.log_softmax(logits / temperature, dim=-1)
    chosen = log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return chosen, -(log_p.exp() * log_p).sum(-1)
