"""The truth: group statistics one group at a time. Slow on purpose. Legend: N rows, G groups."""

from __future__ import annotations

import torch
from torch import Tensor


def group_advantage(reward: Tensor, group: Tensor, num_groups: int, kind: str, eps: float) -> Tensor:
    """grpo (2402.03300): (R - mean) / (std + eps), std with n - 1; dr_grpo (2503.20783): R - mean; rloo (2402.14740):
    R - mean of the others. A group of one, and one of equal rewards, gets 0."""
    advantage = torch.zeros_like(reward)
    for g in range(num_groups):
        rows = torch.nonzero(group == g).flatten()
        if len(rows) < 2:
            continue
        x = reward[rows]
        centred = x - x.mean()
        if kind == "rloo":
            advantage[rows] = x - (x.sum() - x) / (len(x) - 1)
        elif kind == "dr_grpo" or float(centred.abs().max()) == 0.0:
            advantage[rows] = centred
        else:
            advantage[rows] = centred / (x.std(unbiased=True) + eps)
    return advantage


def whiten(x: Tensor, segment: Tensor, num_segments: int, eps: float) -> Tensor:
    """(x - mean) / (population std + eps) inside each segment."""
    out = torch.zeros_like(x)
    for s in range(num_segments):
        rows = torch.nonzero(segment == s).flatten()
        if len(rows):
            out[rows] = (x[rows] - x[rows].mean()) / (x[rows].std(unbiased=False) + eps)
    return out
