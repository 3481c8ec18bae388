"""Group statistics as one launch each: one program a group, its rows found through an order that sorts them by group.

No atomics: every sum is a tree over one program's lanes and blocks in a fixed order, so results repeat bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rrl_kernels import tuning
from rrl_kernels.compile_case import CompileCase

GRPO, DR_GRPO, RLOO, WHITEN = 0, 1, 2, 3


@triton.jit
def group_kernel(  # type: ignore[no-untyped-def]
    x, order, offsets, out, mean_out, std_out, equal_out, KIND: tl.constexpr, EPS: tl.constexpr, BLOCK: tl.constexpr
):
    """Statistics of group program_id(0), then its rows' numbers: grpo 0, dr_grpo 1, rloo 2, whiten 3."""
    group = tl.program_id(0).to(tl.int64)
    begin = tl.load(offsets + group)
    end = tl.load(offsets + group + 1)
    lane = tl.arange(0, BLOCK)
    total = tl.full((), 0.0, tl.float32)
    low = tl.full((), float("inf"), tl.float32)
    high = tl.full((), float("-inf"), tl.float32)
    for first in range(begin, end, BLOCK):
        inside = first + lane < end
        place = tl.load(order + first + lane, mask=inside, other=0)
        number = tl.load(x + place, mask=inside, other=0.0)
        total += tl.sum(number, 0)
        low = tl.minimum(low, tl.min(tl.where(inside, number, float("inf")), 0))
        high = tl.maximum(high, tl.max(tl.where(inside, number, float("-inf")), 0))
    count = (end - begin).to(tl.float32)
    mean = total / tl.maximum(count, 1.0)
    squares = tl.full((), 0.0, tl.float32)
    for first in range(begin, end, BLOCK):
        inside = first + lane < end
        place = tl.load(order + first + lane, mask=inside, other=0)
        gap = tl.where(inside, tl.load(x + place, mask=inside, other=0.0) - mean, 0.0)
        squares += tl.sum(gap * gap, 0)
    equal = low >= high
    others = tl.maximum(count - 1.0, 1.0)
    std = tl.sqrt(squares / others)
    scale = 1.0
    if KIND == 0:
        scale = 1.0 / (std + EPS)
    if KIND == 2:
        scale = count / others
    if KIND == 3:
        scale = 1.0 / (tl.sqrt(squares / tl.maximum(count, 1.0)) + EPS)
    for first in range(begin, end, BLOCK):
        inside = first + lane < end
        place = tl.load(order + first + lane, mask=inside, other=0)
        number = tl.load(x + place, mask=inside, other=0.0)
        tl.store(out + place, tl.where(equal, 0.0, (number - mean) * scale), mask=inside)
    tl.store(mean_out + group, mean)
    tl.store(std_out + group, tl.where(equal, 0.0, std))
    tl.store(equal_out + group, equal.to(tl.int8))


def statistics(x: Tensor, group: Tensor, num_groups: int, kind: int, eps: float) -> tuple[Tensor, ...]:
    """(numbers [N], mean [G], std [G], equal [G] bool), float32."""
    x = x.float().contiguous()
    order = torch.argsort(group, stable=True)
    offsets = torch.searchsorted(group[order], torch.arange(num_groups + 1, device=group.device))
    out, mean, std = torch.empty_like(x), *(x.new_empty(num_groups) for _ in range(2))
    equal = torch.empty(num_groups, dtype=torch.int8, device=x.device)
    if num_groups:
        block, num_warps, num_stages = tuning.scan_config(len(x) // num_groups * 2)
        group_kernel[(num_groups,)](
            x, order, offsets, out, mean, std, equal, KIND=kind, EPS=eps, BLOCK=block, num_warps=num_warps,
            num_stages=num_stages,
        )
    return out, mean, std, equal.bool()


def compile_cases() -> list[CompileCase]:
    """Every kind at every tuned size."""
    signature = dict.fromkeys(("x", "out", "mean_out", "std_out"), "*fp32") | {
        "order": "*i64", "offsets": "*i64", "equal_out": "*i8",
    }
    cases = []
    for longest in (16, 1024):
        block, num_warps, num_stages = tuning.scan_config(longest)
        for kind in (GRPO, DR_GRPO, RLOO, WHITEN):
            options: dict[str, Any] = {"KIND": kind, "EPS": 1e-6, "BLOCK": block}
            cases.append(CompileCase(
                name=f"group-{kind}-{longest}", kernel=group_kernel, constexprs=options, num_warps=num_warps,
                num_stages=num_stages, uses_wgmma=False, signature=signature | dict.fromkeys(options, "constexpr"),
            ))
    return cases
