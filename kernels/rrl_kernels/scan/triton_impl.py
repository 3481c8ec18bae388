"""GAE and V-trace as one launch: one program a row, from the tail in blocks, with a scalar carry between blocks.

y_u = x_u + a_u y_{u+1} is a scan of pairs (a, x) under (a1, x1) then (a2, x2) -> (a1 a2, x1 a2 + x2). The carry begins
at 0: the value after the last action is inside that action's delta, once.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rrl_kernels import checks, tuning
from rrl_kernels.compile_case import CompileCase

# What the kernels check on the way, since they read every number anyhow: a separate look would be launches of its own.
SAID = "a reward, value, log-prob or bootstrap_value is NaN or infinite, or offsets does not rise from 0 to"


@triton.jit
def _then(a1, x1, a2, x2):  # type: ignore[no-untyped-def]
    return a1 * a2, x1 * a2 + x2


@triton.jit
def _last(x, lane, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    return tl.sum(tl.where(lane == BLOCK - 1, x, 0.0), 0)


@triton.jit
def _ends(offsets, num, ok):  # type: ignore[no-untyped-def]
    """(begin, end) of row program_id(0); offsets that do not rise from 0 to num set ok to 0, and are not followed."""
    row = tl.program_id(0).to(tl.int64)
    begin = tl.load(offsets + row)
    end = tl.load(offsets + row + 1)
    wrong = (begin < 0) | (end < begin) | (end > num) | ((row == 0) & (begin != 0))
    wrong = wrong | ((row == tl.num_programs(0) - 1) & (end != num))
    tl.store(ok, 0, mask=wrong)
    return tl.where(wrong, 0, begin), tl.where(wrong, 0, end)


@triton.jit
def _finite(x):  # type: ignore[no-untyped-def]
    return tl.abs(x) < float("inf")  # false for NaN


@triton.jit
def gae_kernel(  # type: ignore[no-untyped-def]
    reward, value, offsets, final, row_lam, advantage, target, ok, num,
    GAMMA: tl.constexpr, LAM: tl.constexpr, TARGET_LAM: tl.constexpr, HAS_ROW_LAM: tl.constexpr, BLOCK: tl.constexpr,
):
    """Advantages and value targets of row program_id(0); TARGET_LAM < 0 = the advantage's own."""
    row = tl.program_id(0).to(tl.int64)
    begin, end = _ends(offsets, num, ok)
    after = tl.load(final + row)
    decay = GAMMA * LAM
    if HAS_ROW_LAM:
        decay = GAMMA * tl.load(row_lam + row)
    lane = tl.arange(0, BLOCK)
    carry = tl.full((), 0.0, tl.float32)
    target_carry = tl.full((), 0.0, tl.float32)
    sound = tl.full((BLOCK,), 1, tl.int32)
    for done in range(0, end - begin, BLOCK):
        u = end - 1 - done - lane  # from the tail
        inside = u >= begin
        v = tl.load(value + u, mask=inside, other=0.0)
        v_next = tl.where(u == end - 1, after, tl.load(value + u + 1, mask=inside & (u + 1 < end), other=0.0))
        r = tl.load(reward + u, mask=inside, other=0.0)
        sound = tl.where(_finite(r) & _finite(v), sound, 0)
        delta = tl.where(inside, r + GAMMA * v_next - v, 0.0)
        a = tl.where(inside, decay, 1.0)
        a_run, x_run = tl.associative_scan((a, delta), 0, _then)
        result = x_run + a_run * carry
        carry = _last(result, lane, BLOCK)
        tl.store(advantage + u, result, mask=inside)
        if TARGET_LAM >= 0.0:
            a = tl.where(inside, GAMMA * TARGET_LAM, 1.0)
            a_run, x_run = tl.associative_scan((a, delta), 0, _then)
            result = x_run + a_run * target_carry
            target_carry = _last(result, lane, BLOCK)
        tl.store(target + u, result + v, mask=inside)
    tl.store(ok, 0, mask=(tl.min(sound, 0) == 0) | (_finite(after) == 0))


@triton.jit
def vtrace_kernel(  # type: ignore[no-untyped-def]
    reward, value, log_ratio, offsets, final, target, advantage, rho, ess, ok, num,
    GAMMA: tl.constexpr, LAM: tl.constexpr, RHO_BAR: tl.constexpr, C_BAR: tl.constexpr, BLOCK: tl.constexpr,
):
    """V-trace targets, advantages, clipped weights and effective sample size of row program_id(0)."""
    row = tl.program_id(0).to(tl.int64)
    begin, end = _ends(offsets, num, ok)
    after = tl.load(final + row)
    lane = tl.arange(0, BLOCK)
    carry = tl.full((), 0.0, tl.float32)
    next_target = after
    first = tl.full((), 0.0, tl.float32)
    second = tl.full((), 0.0, tl.float32)
    sound = tl.full((BLOCK,), 1, tl.int32)
    for done in range(0, end - begin, BLOCK):
        u = end - 1 - done - lane
        inside = u >= begin
        v = tl.load(value + u, mask=inside, other=0.0)
        v_next = tl.where(u == end - 1, after, tl.load(value + u + 1, mask=inside & (u + 1 < end), other=0.0))
        r = tl.load(reward + u, mask=inside, other=0.0)
        log_w = tl.load(log_ratio + u, mask=inside, other=0.0)
        sound = tl.where(_finite(r) & _finite(v) & _finite(log_w), sound, 0)
        w = tl.exp(tl.minimum(tl.maximum(log_w, -20.0), 20.0))
        w = tl.where(inside, w, 0.0)
        first += tl.sum(w, 0)
        second += tl.sum(w * w, 0)
        clipped = tl.minimum(w, RHO_BAR)
        delta = tl.where(inside, clipped * (r + GAMMA * v_next - v), 0.0)
        a = tl.where(inside, GAMMA * LAM * tl.minimum(w, C_BAR), 1.0)
        a_run, x_run = tl.associative_scan((a, delta), 0, _then)
        gain = x_run + a_run * carry
        tl.store(target + u, v + gain, mask=inside)
        tl.store(rho + u, clipped, mask=inside)
        carry = _last(gain, lane, BLOCK)
    tl.store(ok, 0, mask=(tl.min(sound, 0) == 0) | (_finite(after) == 0))
    tl.store(ess + row, first * first / tl.maximum(second, 1e-30))
    tl.debug_barrier()  # other lanes' targets are read below
    for done in range(0, end - begin, BLOCK):
        u = end - 1 - done - lane
        inside = u >= begin
        ahead = tl.load(target + u + 1, mask=inside & (u + 1 < end), other=0.0)
        ahead = tl.where(u == end - 1, next_target, ahead)
        r = tl.load(reward + u, mask=inside, other=0.0)
        v = tl.load(value + u, mask=inside, other=0.0)
        tl.store(advantage + u, r + GAMMA * ahead - v, mask=inside)


def gae(
    reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float, row_lam: Tensor | None,
    target_lam: float,
) -> tuple[Tensor, Tensor]:
    """(advantage, target); ``target_lam`` < 0 = the advantage's own."""
    reward, value, final = (x.float().contiguous() for x in (reward, value, final))
    advantage, target = torch.empty_like(value), torch.empty_like(value)
    ok = torch.ones(1, dtype=torch.int32, device=value.device)
    if len(final):
        block, num_warps, num_stages = tuning.scan_config(len(value) // len(final) * 2)
        gae_kernel[(len(final),)](
            reward, value, offsets.contiguous(), final, None if row_lam is None else row_lam.float().contiguous(),
            advantage, target, ok, len(value), GAMMA=gamma, LAM=lam, TARGET_LAM=target_lam,
            HAS_ROW_LAM=row_lam is not None, BLOCK=block, num_warps=num_warps, num_stages=num_stages,
        )
        checks.holds(ok, f"segment_gae: {SAID} {len(value)}")
    return advantage, target


def vtrace(
    reward: Tensor, value: Tensor, log_ratio: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float,
    rho_bar: float, c_bar: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ``torch_impl.vtrace``, in float32."""
    reward, value, log_ratio, final = (x.float().contiguous() for x in (reward, value, log_ratio, final))
    target, advantage, rho = (torch.empty_like(value) for _ in range(3))
    ess = torch.empty_like(final)
    ok = torch.ones(1, dtype=torch.int32, device=value.device)
    if len(final):
        block, num_warps, num_stages = tuning.scan_config(len(value) // len(final) * 2)
        vtrace_kernel[(len(final),)](
            reward, value, log_ratio, offsets.contiguous(), final, target, advantage, rho, ess, ok, len(value),
            GAMMA=gamma, LAM=lam, RHO_BAR=rho_bar, C_BAR=c_bar, BLOCK=block, num_warps=num_warps,
            num_stages=num_stages,
        )
        checks.holds(ok, f"segment_vtrace: {SAID} {len(value)}")
    return target, advantage, rho, ess


def compile_cases() -> list[CompileCase]:
    """Every tuned configuration, with and without the options that change the code."""
    cases = []
    floats = dict.fromkeys(("reward", "value", "final", "advantage", "target"), "*fp32") | {
        "offsets": "*i64", "ok": "*i32", "num": "i64",
    }
    for longest in (16, 300, 4096):
        block, num_warps, num_stages = tuning.scan_config(longest)
        launch: dict[str, Any] = {"num_warps": num_warps, "num_stages": num_stages, "uses_wgmma": False}
        for rich in (False, True):
            options: dict[str, Any] = {
                "GAMMA": 0.99, "LAM": 0.95, "TARGET_LAM": 1.0 if rich else -1.0, "HAS_ROW_LAM": rich, "BLOCK": block,
            }
            silent: dict[str, Any] = {} if rich else {"row_lam": None}
            cases.append(CompileCase(
                name=f"gae-{longest}-{'rich' if rich else 'plain'}", kernel=gae_kernel, constexprs=options | silent,
                signature=floats | {"row_lam": "*fp32" if rich else "constexpr"} | dict.fromkeys(options, "constexpr"),
                **launch,
            ))
        options = {"GAMMA": 0.99, "LAM": 0.95, "RHO_BAR": 1.0, "C_BAR": 1.0, "BLOCK": block}
        cases.append(CompileCase(
            name=f"vtrace-{longest}", kernel=vtrace_kernel, constexprs=options,
            signature=floats
            | dict.fromkeys(("log_ratio", "rho", "ess"), "*fp32") | dict.fromkeys(options, "constexpr"),
            **launch,
        ))
    return cases
