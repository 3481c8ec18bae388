"""Group advantages and whitening as ``torch.library`` operators; their outputs carry no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels import dispatch
from rrl_kernels.group import reference, torch_impl

KINDS = ("grpo", "dr_grpo", "rloo")

_GROUP = "(Tensor reward, Tensor group, int num_groups, str kind, float eps) -> (Tensor, Tensor, Tensor, Tensor)"
_WHITEN = "(Tensor x, Tensor segment, int num_segments, float eps) -> Tensor"


@torch.library.custom_op("rrl_kernels::group_advantage", mutates_args=(), schema=_GROUP)
def group_advantage(
    reward: Tensor, group: Tensor, num_groups: int, kind: str, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(advantage [N], mean [G], std [G], equal [G] bool)."""
    chosen = dispatch.pick("group_advantage", reward)
    if chosen == "triton":
        from rrl_kernels.group.triton_impl import statistics

        advantage, mean, std, equal = statistics(reward, group, num_groups, KINDS.index(kind), eps)
        return advantage.to(reward.dtype), mean.to(reward.dtype), std.to(reward.dtype), equal
    advantage, mean, std, equal = torch_impl.group_advantage(reward, group, num_groups, kind, eps)
    if chosen == "reference":
        advantage = reference.group_advantage(reward.double(), group, num_groups, kind, eps)
    first, second, third = (x.to(reward.dtype, copy=True) for x in (advantage, mean, std))
    return first, second, third, equal


@group_advantage.register_fake
def _group_fake(reward: Tensor, group: Tensor, num_groups: int, *_: Any) -> tuple[Tensor, ...]:  # noqa: ARG001
    equal = reward.new_empty(num_groups, dtype=torch.bool)
    return torch.empty_like(reward), reward.new_empty(num_groups), reward.new_empty(num_groups), equal


@torch.library.custom_op("rrl_kernels::whiten", mutates_args=(), schema=_WHITEN)
def whiten(x: Tensor, segment: Tensor, num_segments: int, eps: float) -> Tensor:
    """(x - mean) / (population std + eps) inside each segment, in the dtype of ``x``."""
    chosen = dispatch.pick("whiten", x)
    if chosen == "triton":
        from rrl_kernels.group.triton_impl import WHITEN, statistics

        return statistics(x, segment, num_segments, WHITEN, eps)[0].to(x.dtype)
    if chosen == "reference":
        numbers = reference.whiten(x.double(), segment, num_segments, eps)
    else:
        numbers = torch_impl.whiten(x, segment, num_segments, eps)
    return numbers.to(x.dtype, copy=True)


@whiten.register_fake
def _whiten_fake(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)
