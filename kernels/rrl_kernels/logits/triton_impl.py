"""Row operations on logits as Triton kernels: one program a row, the row read once forward and once backward.

The running triple of a row after some columns: m = largest z / T so far, d = sum exp(z / T - m),
w = sum exp(z / T - m) (z / T - m). A new block raises m to m', which turns w into exp(m - m') (w + d (m - m')) and d
into exp(m - m') d; nothing of the size of the logits is ever subtracted from its like, so the entropy log d - w / d
is as good at logits near -1000 as near 0. Row offsets are 64-bit: 16,384 rows of 151,936 columns pass 2^31.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rrl_kernels import tuning
from rrl_kernels.compile_case import CompileCase


@triton.jit
def _scaled(x, TEMPERATURE: tl.constexpr, SOFTCAP: tl.constexpr):  # type: ignore[no-untyped-def]
    """z / T of raw logits in float32; tanh x = 2 sigmoid(2 x) - 1, since the interpreter has no tanh."""
    x = x.to(tl.float32)
    if SOFTCAP > 0.0:
        x = SOFTCAP * (2.0 * tl.sigmoid(x * (2.0 / SOFTCAP)) - 1.0)
    if TEMPERATURE != 1.0:
        x = x * (1.0 / TEMPERATURE)
    return x


@triton.jit
def stats_kernel(  # type: ignore[no-untyped-def]
    logits, targets, mask, logprob, entropy, lse, row_stride, num_columns,
    TEMPERATURE: tl.constexpr, SOFTCAP: tl.constexpr, HAS_MASK: tl.constexpr, BLOCK: tl.constexpr,
):
    """Log-probability of the target, entropy and lse of row program_id(0)."""
    row = tl.program_id(0).to(tl.int64)
    if HAS_MASK:  # noqa: SIM102 - decided when the kernel is compiled: without a mask there is no pointer to load
        if tl.load(mask + row) == 0:
            tl.store(logprob + row, 0.0)
            tl.store(entropy + row, 0.0)
            tl.store(lse + row, 0.0)
            return
    start_of_row = logits + row * row_stride
    m = tl.full((), float("-inf"), tl.float32)
    d = tl.full((), 0.0, tl.float32)
    w = tl.full((), 0.0, tl.float32)
    for first in range(0, num_columns, BLOCK):
        column = first + tl.arange(0, BLOCK)
        inside = column < num_columns
        x = _scaled(tl.load(start_of_row + column, mask=inside, other=float("-inf")), TEMPERATURE, SOFTCAP)
        x = tl.where(inside, x, float("-inf"))  # a soft cap would lift -inf to -cap
        top = tl.maximum(m, tl.max(x, 0))
        shift = tl.where(m == float("-inf"), 0.0, m - top)  # nothing yet: d = w = 0, and -inf - -inf is NaN
        safe = tl.where(top == float("-inf"), 0.0, top)
        gap = tl.where(x == float("-inf"), 0.0, x - safe)
        e = tl.where(x == float("-inf"), 0.0, tl.exp(gap))
        w = tl.exp(shift) * (w + d * shift) + tl.sum(e * gap, 0)
        d = tl.exp(shift) * d + tl.sum(e, 0)
        m = top
    chosen = _scaled(tl.load(start_of_row + tl.load(targets + row)), TEMPERATURE, SOFTCAP)
    log_d = tl.log(d)
    tl.store(logprob + row, chosen - m - log_d)
    tl.store(entropy + row, log_d - w / d)
    tl.store(lse + row, m + log_d)


@triton.jit
def grad_kernel(  # type: ignore[no-untyped-def]
    logits, targets, mask, lse, entropy, d_logprob, d_entropy, out, row_stride, out_stride, num_columns,
    TEMPERATURE: tl.constexpr, SOFTCAP: tl.constexpr, HAS_MASK: tl.constexpr, HAS_ENTROPY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """d loss / d raw logits of row program_id(0); out may be logits."""
    row = tl.program_id(0).to(tl.int64)
    start_of_row = logits + row * row_stride
    start_of_out = out + row * out_stride
    read = 1
    if HAS_MASK:
        read = tl.load(mask + row).to(tl.int32)
    if read == 0:
        for first in range(0, num_columns, BLOCK):
            column = first + tl.arange(0, BLOCK)
            zero = tl.zeros((BLOCK,), tl.float32).to(out.dtype.element_ty)
            tl.store(start_of_out + column, zero, mask=column < num_columns)
    else:
        total = tl.load(lse + row)
        upstream = tl.load(d_logprob + row)
        if HAS_ENTROPY:
            h = tl.load(entropy + row)
            upstream_h = tl.load(d_entropy + row)
        target = tl.load(targets + row)
        for first in range(0, num_columns, BLOCK):
            column = first + tl.arange(0, BLOCK)
            inside = column < num_columns
            x = _scaled(tl.load(start_of_row + column, mask=inside, other=float("-inf")), TEMPERATURE, SOFTCAP)
            log_p = tl.where(x == float("-inf"), 0.0, x - total)
            p = tl.where(x == float("-inf"), 0.0, tl.exp(log_p))
            grad = -p * upstream
            if HAS_ENTROPY:
                grad -= p * (log_p + h) * upstream_h
            grad += tl.where(column == target, upstream, 0.0)  # a difference in float32, rounded once below
            if SOFTCAP > 0.0:
                z = x * (TEMPERATURE / SOFTCAP)
                grad = grad * (1.0 - z * z)
            if TEMPERATURE != 1.0:
                grad = grad * (1.0 / TEMPERATURE)
            tl.store(start_of_out + column, grad.to(out.dtype.element_ty), mask=inside)


def row_stats(
    logits: Tensor, targets: Tensor, mask: Tensor | None, temperature: float, softcap: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``torch_impl.row_stats``."""
    logits = _rows_dense(logits)
    logprob, entropy, lse = (logits.new_empty(len(logits), dtype=torch.float32) for _ in range(3))
    if len(logits):
        block, num_warps, num_stages = tuning.row_config(logits.shape[1])
        stats_kernel[(len(logits),)](
            logits, targets.contiguous(), None if mask is None else mask.contiguous(), logprob, entropy, lse,
            logits.stride(0), logits.shape[1], TEMPERATURE=temperature, SOFTCAP=softcap, HAS_MASK=mask is not None,
            BLOCK=block, num_warps=num_warps, num_stages=num_stages,
        )
    return logprob, entropy, lse


def row_grad(
    logits: Tensor, targets: Tensor, mask: Tensor | None, lse: Tensor, entropy: Tensor, d_logprob: Tensor,
    d_entropy: Tensor | None, temperature: float, softcap: float, out: Tensor,
) -> None:
    """As ``torch_impl.row_grad``; each program writes only what it alone has read, so ``out`` may be ``logits``."""
    if not len(logits):
        return
    place = out if out.stride(1) == 1 else torch.empty(out.shape, dtype=out.dtype, device=out.device)
    source = place if out is logits and place is out else _rows_dense(logits)
    block, num_warps, num_stages = tuning.row_config(logits.shape[1])
    grad_kernel[(len(logits),)](
        source, targets.contiguous(), None if mask is None else mask.contiguous(), lse.contiguous(),
        entropy.contiguous(), d_logprob.float().contiguous(),
        None if d_entropy is None else d_entropy.float().contiguous(), place, source.stride(0), place.stride(0),
        logits.shape[1], TEMPERATURE=temperature, SOFTCAP=softcap, HAS_MASK=mask is not None,
        HAS_ENTROPY=d_entropy is not None, BLOCK=block, num_warps=num_warps, num_stages=num_stages,
    )
    if place is not out:
        out.copy_(place)


def _rows_dense(logits: Tensor) -> Tensor:
    """Any row stride is read as it is (sliced or expanded rows too); columns must lie side by side."""
    return logits if logits.stride(1) == 1 else logits.contiguous()


def compile_cases() -> list[CompileCase]:
    """Every tuned configuration, with and without the options that change the code."""
    cases = []
    for dtype in ("fp32", "bf16"):
        for vocab in (1000, 32000, 151936):
            for rich in (False, True):
                block, num_warps, num_stages = tuning.row_config(vocab)
                options: dict[str, Any] = {
                    "TEMPERATURE": 0.7 if rich else 1.0, "SOFTCAP": 30.0 if rich else 0.0, "HAS_MASK": rich,
                    "BLOCK": block,
                }
                mask = "*i1" if rich else "constexpr"
                silent: dict[str, Any] = {} if rich else {"mask": None}
                launch: dict[str, Any] = {"num_warps": num_warps, "num_stages": num_stages, "uses_wgmma": False}
                name = f"{dtype}-{vocab}-{'rich' if rich else 'plain'}"
                numbers = {"row_stride": "i64", "num_columns": "i32"}
                stats = {"logits": f"*{dtype}", "targets": "*i64", "mask": mask, "logprob": "*fp32",
                         "entropy": "*fp32", "lse": "*fp32", **numbers}
                cases.append(CompileCase(
                    name=f"stats-{name}", kernel=stats_kernel, constexprs=options | silent,
                    signature=stats | dict.fromkeys(options, "constexpr"), **launch,
                ))
                quiet = silent if rich else silent | {"d_entropy": None}
                grad = {"logits": f"*{dtype}", "targets": "*i64", "mask": mask, "lse": "*fp32", "entropy": "*fp32",
                        "d_logprob": "*fp32", "d_entropy": "*fp32" if rich else "constexpr", "out": f"*{dtype}",
                        "row_stride": "i64", "out_stride": "i64", "num_columns": "i32"}
                more = options | {"HAS_ENTROPY": rich}
                cases.append(CompileCase(
                    name=f"grad-{name}", kernel=grad_kernel, constexprs=more | quiet,
                    signature=grad | dict.fromkeys(more, "constexpr"), **launch,
                ))
    return cases
