"""Group statistics as one launch each: one program a group, its rows found by their ids or, where rows and groups are
many, through an order that sorts them by group.

No atomics: every sum is a tree over one program's lanes and blocks in a fixed order, so results repeat bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rrl_kernels import checks, tuning
from rrl_kernels.compile_case import CompileCase

GRPO, DR_GRPO, RLOO, WHITEN = 0, 1, 2, 3


@triton.jit
def _rows(ids, order, first, group, end, ORDERED: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """(places, which of them are this group's): the next rows of the order, or the next of all rows by their ids."""
    lane = first + tl.arange(0, BLOCK)
    inside = lane < end
    if ORDERED:
        return tl.load(order + lane, mask=inside, other=0), inside
    return lane, inside & (tl.load(ids + lane, mask=inside, other=-1) == group)


@triton.jit
def group_kernel(  # type: ignore[no-untyped-def]
    x, ids, order, offsets, out, mean_out, std_out, equal_out, ok, num,
    KIND: tl.constexpr, EPS: tl.constexpr, ORDERED: tl.constexpr, BLOCK: tl.constexpr,
):
    """Statistics of group program_id(0), then its rows' numbers: grpo 0, dr_grpo 1, rloo 2, whiten 3.

    ok: set to 0 where a number is not finite or a group's id is not that of a program.
    """
    group = tl.program_id(0).to(tl.int64)
    last = group == tl.num_programs(0) - 1
    begin = tl.zeros((), tl.int64)
    end = begin + num  # triton compiles a size of 1 as the plain number, which has no dtype to change
    if ORDERED:
        begin = tl.load(offsets + group)
        end = tl.load(offsets + group + 1)
        tl.store(ok, 0, mask=((group == 0) & (begin != 0)) | (last & (end != num)))
    elif group == 0:  # one program looks at every id
        for first in range(begin, end, BLOCK):
            lane = first + tl.arange(0, BLOCK)
            known = tl.load(ids + lane, mask=lane < end, other=0)
            known = (known >= 0) & (known < tl.num_programs(0))
            tl.store(ok, 0, mask=tl.min(known.to(tl.int32), 0) == 0)
    total = tl.full((), 0.0, tl.float32)
    count = (end - begin).to(tl.float32) if ORDERED else tl.full((), 0.0, tl.float32)
    low = tl.full((), float("inf"), tl.float32)
    high = tl.full((), float("-inf"), tl.float32)
    for first in range(begin, end, BLOCK):
        place, inside = _rows(ids, order, first, group, end, ORDERED, BLOCK)
        number = tl.load(x + place, mask=inside, other=0.0)
        total += tl.sum(number, 0)
        if not ORDERED:
            count += tl.sum(inside.to(tl.float32), 0)
        low = tl.minimum(low, tl.min(tl.where(inside, number, float("inf")), 0))
        high = tl.maximum(high, tl.max(tl.where(inside, number, float("-inf")), 0))
    tl.store(ok, 0, mask=(tl.abs(total) < float("inf")) == 0)  # NaN and infinities stay in a sum; NaN < x is false
    mean = total / tl.maximum(count, 1.0)
    squares = tl.full((), 0.0, tl.float32)
    for first in range(begin, end, BLOCK):
        place, inside = _rows(ids, order, first, group, end, ORDERED, BLOCK)
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
        place, inside = _rows(ids, order, first, group, end, ORDERED, BLOCK)
        number = tl.load(x + place, mask=inside, other=0.0)
        tl.store(out + place, tl.where(equal, 0.0, (number - mean) * scale), mask=inside)
    tl.store(mean_out + group, mean)
    tl.store(std_out + group, tl.where(equal, 0.0, std))
    tl.store(equal_out + group, equal.to(tl.int8))


# Up to this many (row, group) pairs every group looks through all rows; beyond it they are sorted by group first,
# which is a dozen launches.
LOOK_THROUGH = 1 << 22


def statistics(x: Tensor, group: Tensor, num_groups: int, kind: int, eps: float) -> tuple[Tensor, ...]:
    """(numbers [N], mean [G], std [G], equal [G] bool), float32; ids outside [0, G) and what is not finite stop it."""
    x, group = x.float().contiguous(), group.contiguous()
    out, mean, std = torch.empty_like(x), *(x.new_empty(num_groups) for _ in range(2))
    equal = torch.empty(num_groups, dtype=torch.int8, device=x.device)
    ok = torch.ones(1, dtype=torch.int32, device=x.device)
    if num_groups:
        ordered = len(x) * num_groups > LOOK_THROUGH
        order = offsets = None
        if ordered:
            order = torch.argsort(group, stable=True)
            offsets = torch.searchsorted(group[order], torch.arange(num_groups + 1, device=group.device))
        block, num_warps, num_stages = tuning.group_config(len(x) // num_groups * 2 if ordered else len(x))
        group_kernel[(num_groups,)](
            x, group, order, offsets, out, mean, std, equal, ok, len(x), KIND=kind, EPS=eps, ORDERED=ordered,
            BLOCK=block, num_warps=num_warps, num_stages=num_stages,
        )
        checks.holds(ok, f"a number is NaN or infinite, or a group's id is outside [0, {num_groups})")
    return out, mean, std, equal.bool()


def compile_cases() -> list[CompileCase]:
    """Every kind at every tuned size, in either way of finding rows."""
    signature = dict.fromkeys(("x", "out", "mean_out", "std_out"), "*fp32") | {
        "ids": "*i64", "equal_out": "*i8", "ok": "*i32", "num": "i64",
    }
    cases = []
    for longest in (16, 1024):
        block, num_warps, num_stages = tuning.group_config(longest)
        for kind in (GRPO, DR_GRPO, RLOO, WHITEN):
            for ordered in (True, False):
                options: dict[str, Any] = {"KIND": kind, "EPS": 1e-6, "ORDERED": ordered, "BLOCK": block}
                absent: dict[str, Any] = {} if ordered else {"order": None, "offsets": None}
                sorts = dict.fromkeys(("order", "offsets"), "*i64" if ordered else "constexpr")
                cases.append(CompileCase(
                    name=f"group-{kind}-{longest}-{'sorted' if ordered else 'as-they-come'}", kernel=group_kernel,
                    constexprs=options | absent, num_warps=num_warps, num_stages=num_stages, uses_wgmma=False,
                    signature=signature | sorts | dict.fromkeys(options, "constexpr"),
                ))
    return cases
