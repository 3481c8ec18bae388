"""Group statistics in plain torch, in float64 inside: sums by ``bincount``, variance in a second pass.

E[x^2] - E[x]^2 would cancel when the mean is large. On a CPU ``bincount`` adds in index order, so results repeat
bit for bit; on a GPU it would not, and the Triton kernels take its place.
"""

from __future__ import annotations

import torch
from torch import Tensor


def moments(x: Tensor, group: Tensor, num_groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """(count, mean, sum of squared deviations) of each group [G], float64; mean 0 of an empty one."""
    wide = x.double()
    count = torch.bincount(group, minlength=num_groups).double()
    mean = torch.bincount(group, wide, num_groups) / count.clamp(min=1.0)
    return count, mean, torch.bincount(group, (wide - mean.index_select(0, group)).square_(), num_groups)


def group_advantage(
    reward: Tensor, group: Tensor, num_groups: int, kind: str, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(advantage [N], mean [G], std [G] with n - 1, equal [G]: all rewards alike), float64."""
    count, mean, squares = moments(reward, group, num_groups)
    std = (squares / (count - 1.0).clamp(min=1.0)).sqrt()
    # Equal by comparison: a rounded mean may leave a deviation of 1e-17 that dividing by std would blow up to 1.
    any_one = reward.new_zeros(num_groups).scatter(0, group, reward)  # whichever row of a group is written last
    equal = torch.bincount(group, (reward != any_one.index_select(0, group)).double(), num_groups) == 0.0
    centred = torch.where(equal.index_select(0, group), 0.0, reward.double() - mean.index_select(0, group))
    if kind == "grpo":
        return centred / (std.index_select(0, group) + eps), mean, std, equal
    if kind == "rloo":  # R - (n mean - R) / (n - 1) = (R - mean) n / (n - 1)
        return centred * (count / (count - 1.0).clamp(min=1.0)).index_select(0, group), mean, std, equal
    return centred, mean, std, equal


def whiten(x: Tensor, segment: Tensor, num_segments: int, eps: float) -> Tensor:
    """Whitened numbers, float64."""
    count, mean, squares = moments(x, segment, num_segments)
    std = (squares / count.clamp(min=1.0)).sqrt()
    return (x.double() - mean.index_select(0, segment)) / (std.index_select(0, segment) + eps)
