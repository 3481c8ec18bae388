"""Row operations on logits as Triton kernels: one program a row, the row read once forward and once backward.

The running triple of a row after some columns: m = largest z / T so far (top, at the end), d = sum exp(z / T - m),
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

_SCALE_BLOCK, _SCALE_WARPS = 4096, 8
# Most programs of a launch, four for each multiprocessor of an H100: with one a block, those that find a factor of 1
# and do nothing cost a tenth of the whole loss (measured: 3.2 ms against 2.9).
_SCALE_PROGRAMS = 528


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
    logits, targets, mask, logprob, entropy, top, log_sum, row_stride, num_columns,
    TEMPERATURE: tl.constexpr, SOFTCAP: tl.constexpr, HAS_MASK: tl.constexpr, BLOCK: tl.constexpr,
):
    """Log-probability of the target, entropy, top and log_sum of row program_id(0)."""
    row = tl.program_id(0).to(tl.int64)
    if HAS_MASK:  # noqa: SIM102 - decided when the kernel is compiled: without a mask there is no pointer to load
        if tl.load(mask + row) == 0:
            tl.store(logprob + row, 0.0)
            tl.store(entropy + row, 0.0)
            tl.store(top + row, 0.0)
            tl.store(log_sum + row, 0.0)
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
        higher = tl.maximum(m, tl.max(x, 0))
        shift = tl.where(m == float("-inf"), 0.0, m - higher)  # nothing yet: d = w = 0, and -inf - -inf is NaN
        safe = tl.where(higher == float("-inf"), 0.0, higher)
        gap = tl.where(x == float("-inf"), 0.0, x - safe)
        e = tl.where(x == float("-inf"), 0.0, tl.exp(gap))
        w = tl.exp(shift) * (w + d * shift) + tl.sum(e * gap, 0)
        d = tl.exp(shift) * d + tl.sum(e, 0)
        m = higher
    chosen = _scaled(tl.load(start_of_row + tl.load(targets + row)), TEMPERATURE, SOFTCAP)
    log_d = tl.log(d)
    tl.store(logprob + row, chosen - m - log_d)
    tl.store(entropy + row, log_d - w / d)
    tl.store(top + row, m)
    tl.store(log_sum + row, log_d)


@triton.jit
def grad_kernel(  # type: ignore[no-untyped-def]
    logits, targets, mask, entropy, top, log_sum, d_logprob, d_entropy, picked, out, row_stride, out_stride,
    num_columns, TEMPERATURE: tl.constexpr, SOFTCAP: tl.constexpr, HAS_MASK: tl.constexpr,
    HAS_ENTROPY: tl.constexpr, HAS_PICKED: tl.constexpr, BLOCK: tl.constexpr,
):
    """d loss / d raw logits into row program_id(0) of out, which may be logits itself."""
    place = tl.program_id(0).to(tl.int64)
    row = place
    if HAS_PICKED:
        row = tl.load(picked + place)
    start_of_row = logits + row * row_stride
    start_of_out = out + place * out_stride
    read = 1
    if HAS_MASK:
        read = tl.load(mask + row).to(tl.int32)
    if read == 0:
        for first in range(0, num_columns, BLOCK):
            column = first + tl.arange(0, BLOCK)
            zero = tl.zeros((BLOCK,), tl.float32).to(out.dtype.element_ty)
            tl.store(start_of_out + column, zero, mask=column < num_columns)
    else:
        m = tl.load(top + row)
        log_d = tl.load(log_sum + row)
        upstream = tl.load(d_logprob + row)
        if HAS_ENTROPY:
            h = tl.load(entropy + row)
            upstream_h = tl.load(d_entropy + row)
        target = tl.load(targets + row)
        for first in range(0, num_columns, BLOCK):
            column = first + tl.arange(0, BLOCK)
            inside = column < num_columns
            x = _scaled(tl.load(start_of_row + column, mask=inside, other=float("-inf")), TEMPERATURE, SOFTCAP)
            log_p = tl.where(x == float("-inf"), 0.0, x - m - log_d)
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


@triton.jit
def scale_kernel(numbers, factor, num, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """numbers x factor where they lie; a factor of exactly 1 reads and writes nothing."""
    by = tl.load(factor).to(tl.float32)
    if by != 1.0:
        for first in range(tl.program_id(0).to(tl.int64) * BLOCK, num, tl.num_programs(0).to(tl.int64) * BLOCK):
            place = first + tl.arange(0, BLOCK)
            x = tl.load(numbers + place, mask=place < num, other=0.0).to(tl.float32)
            tl.store(numbers + place, (x * by).to(numbers.dtype.element_ty), mask=place < num)


def row_stats(
    logits: Tensor, targets: Tensor, mask: Tensor | None, temperature: float, softcap: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ``torch_impl.row_stats``."""
    logits = _rows_dense(logits)
    logprob, entropy, top, log_sum = (logits.new_empty(len(logits), dtype=torch.float32) for _ in range(4))
    if len(logits):
        block, num_warps, num_stages = _config(logits)
        stats_kernel[(len(logits),)](
            logits, targets.contiguous(), None if mask is None else mask.contiguous(), logprob, entropy, top, log_sum,
            logits.stride(0), logits.shape[1], TEMPERATURE=temperature, SOFTCAP=softcap, HAS_MASK=mask is not None,
            BLOCK=block, num_warps=num_warps, num_stages=num_stages,
        )
    return logprob, entropy, top, log_sum


def row_grad(
    logits: Tensor, targets: Tensor, mask: Tensor | None, entropy: Tensor, top: Tensor, log_sum: Tensor,
    d_logprob: Tensor, d_entropy: Tensor | None, picked: Tensor | None, temperature: float, softcap: float, out: Tensor,
) -> None:
    """As ``torch_impl.row_grad``; each program writes only what it alone has read, so ``out`` may be ``logits``."""
    if not len(out):
        return
    place = out if out.stride(1) == 1 else torch.empty(out.shape, dtype=out.dtype, device=out.device)
    source = place if out is logits and place is out else _rows_dense(logits)
    block, num_warps, num_stages = _config(logits)
    columns = (
        None if x is None else (x if x.dtype in (torch.int64, torch.bool) else x.float()).contiguous()
        for x in (targets, mask, entropy, top, log_sum, d_logprob, d_entropy, picked)
    )
    grad_kernel[(len(out),)](
        source, *columns, place, source.stride(0), place.stride(0), logits.shape[1],
        TEMPERATURE=temperature, SOFTCAP=softcap, HAS_MASK=mask is not None, HAS_ENTROPY=d_entropy is not None,
        HAS_PICKED=picked is not None, BLOCK=block, num_warps=num_warps, num_stages=num_stages,
    )
    if place is not out:
        out.copy_(place)


def scale_(numbers: Tensor, factor: Tensor) -> None:
    """numbers (contiguous) x factor (one number on the same device), in place."""
    if numbers.numel():
        scale_kernel[(min(triton.cdiv(numbers.numel(), _SCALE_BLOCK), _SCALE_PROGRAMS),)](
            numbers, factor, numbers.numel(), BLOCK=_SCALE_BLOCK, num_warps=_SCALE_WARPS
        )


def _config(logits: Tensor) -> tuning.RowConfig:
    return tuning.row_config(logits.shape[1], logits.element_size(), tuning.capability_of(logits))


def _rows_dense(logits: Tensor) -> Tensor:
    """Any row stride is read as it is (sliced or expanded rows too); columns must lie side by side."""
    return logits if logits.stride(1) == 1 else logits.contiguous()


def compile_cases() -> list[CompileCase]:
    """Every tuned configuration, with and without the options that change the code."""
    cases = [CompileCase(
        name=f"scale-{dtype}", kernel=scale_kernel, constexprs={"BLOCK": _SCALE_BLOCK}, num_warps=_SCALE_WARPS,
        signature={"numbers": f"*{dtype}", "factor": "*fp32", "num": "i64", "BLOCK": "constexpr"}, num_stages=1,
        uses_wgmma=False,
    ) for dtype in ("fp32", "bf16")]
    for dtype in ("fp32", "bf16"):
        for vocab in (1000, 32000, 151936):
            cases += [_case("stats", dtype, vocab, rich) for rich in (False, True)]
            cases += [_case("grad", dtype, vocab, rich) for rich in (False, True)]
    return cases


def _case(which: str, dtype: str, vocab: int, rich: bool) -> CompileCase:
    block, num_warps, num_stages = tuning.row_config(vocab)
    options: dict[str, Any] = {"TEMPERATURE": 0.7 if rich else 1.0, "SOFTCAP": 30.0 if rich else 0.0, "HAS_MASK": rich}
    tensors = {"logits": f"*{dtype}", "targets": "*i64", "mask": "*i1"}
    if which == "stats":
        tensors |= dict.fromkeys(("logprob", "entropy", "top", "log_sum"), "*fp32")
    else:
        options |= {"HAS_ENTROPY": rich, "HAS_PICKED": rich}
        tensors |= dict.fromkeys(("entropy", "top", "log_sum", "d_logprob", "d_entropy"), "*fp32")
        tensors |= {"picked": "*i64", "out": "*bf16"}  # float32 logits too have their gradient in the products' dtype
    absent = () if rich else ("mask", "d_entropy", "picked")
    constants = {name: None for name in absent if name in tensors} | options | {"BLOCK": block}
    numbers = {"row_stride": "i64", "num_columns": "i32"} | ({"out_stride": "i64"} if which == "grad" else {})
    return CompileCase(
        name=f"{which}-{dtype}-{vocab}-{'rich' if rich else 'plain'}", constexprs=constants,
        kernel=stats_kernel if which == "stats" else grad_kernel, num_warps=num_warps, num_stages=num_stages,
        signature=tensors | numbers | dict.fromkeys(constants, "constexpr"), uses_wgmma=False,
    )
