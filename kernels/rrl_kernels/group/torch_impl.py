"""Group statistics in plain torch, in float64 inside: sums by ``index_add``, variance in a second pass.

E[x^2] - E[x]^2 would cancel when the mean is large. On a CPU ``index_add`` adds in index order, so results repeat
bit for bit; on a GPU it would not, and the Triton kernels take its place.
"""

from __future__ import annotations

import torch
from torch import Tensor


def moments(x: Tensor, group: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """(count, mean, sum of squared deviations) of each group [G], float64; mean 0 of an empty one."""
    wide = x.double()
    blank = wide.new_zeros(num_groups)
    count = blank.index_add(0, group, torch.ones_like(wide))
    mean = blank.index_add(0, group, wide) / count.clamp(min=1.0)
    return count, mean, blank.index_add(0, group, (wide - mean[group]).square())


def group_advantage(
    reward: Tensor, group: Tensor, num_groups: int, kind: str, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(advantage [N], mean [G], std [G] with n - 1, equal [G]: all rewards alike), float64."""
    count, mean, squares = moments(reward, group, num_groups)
    std = (squares / (count - 1.0).clamp(min=1.0)).sqrt()
    # Equal by comparison: a rounded mean may leave a deviation of 1e-17 that dividing by std would blow up to 1.
    blank = reward.new_zeros(num_groups)
    low, high = (blank.scatter_reduce(0, group, reward, how, include_self=False) for how in ("amin", "amax"))
    equal = low == high
    centred = torch.where(equal[group], 0.0, reward.double() - mean[group])
    if kind == "grpo":
        return centred / (std[group] + eps), mean, std, equal
    if kind == "rloo":  # R - (n mean - R) / (n - 1) = (R - mean) n / (n - 1)
        return centred * (count / (count - 1.0).clamp(min=1.0))[group], mean, std, equal
    return centred, mean, std, equal


def whiten(x: Tensor, segment: Tensor, num_segments: int, eps: float) -> Tensor:
    """Whitened numbers, float64."""
    count, mean, squares = moments(x, segment, num_segments)
    std = (squares / count.clamp(min=1.0)).sqrt()
    return (x.double() - mean[segment]) / (std[segment] + eps)
