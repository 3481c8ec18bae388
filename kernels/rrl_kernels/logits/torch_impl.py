"""Row operations on logits in plain torch, a bounded number of rows at a time.

Legend: C rows, V vocabulary, s raw logits, z = cap tanh(s / cap) (z = s without a cap), p = softmax(z / T),
H = entropy, top = max z / T, log_sum = log sum exp(z / T - top). In nats.

    log p              = (z / T - top) - log_sum
    d log p[y] / d z   = (onehot(y) - p) / T
    d H        / d z   = -p (log p + H) / T
    d z        / d s   = 1 - (z / cap)^2

top and log_sum are kept apart: their sum would round log p by 3e-5 where logits are near -1000.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Numbers in one part: on a CPU 1 MiB of float32, so that the passes over a part find it in the cache; on a GPU
# enough for the launches to cost nothing.
CHUNK_NUMBERS = 1 << 18
CHUNK_NUMBERS_GPU = 1 << 25

# exp of it is 0 in every dtype, and 0 times it is 0, where 0 * -inf would be NaN.
_NEVER = -1e5


def row_stats(
    logits: Tensor, targets: Tensor, mask: Tensor | None, temperature: float, softcap: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(log-probability of the target, entropy, top, log_sum) of each row; 0 where ``mask`` is False.

    ``softcap`` 0 is none. Half precision is read as float32. A logit of -inf has p = 0 and adds nothing.
    """
    columns = empty_stats(logits, len(logits))
    for rows in parts(logits, mask):
        scaled = _scaled(logits[rows], temperature, softcap)
        top = scaled.amax(-1)
        gap = scaled.sub_(top[:, None])
        chosen = gap.gather(-1, targets[rows, None])[:, 0]
        gap.clamp_(min=_NEVER)
        weight = gap.exp()
        total = weight.sum(-1)
        log_sum = total.log()
        entropy = log_sum - torch.linalg.vecdot(weight, gap) / total
        for column, numbers in zip(columns, (chosen - log_sum, entropy, top, log_sum), strict=True):
            column[rows] = numbers
    return columns


def row_grad(
    logits: Tensor, targets: Tensor, mask: Tensor | None, entropy: Tensor, top: Tensor, log_sum: Tensor,
    d_logprob: Tensor, d_entropy: Tensor | None, picked: Tensor | None, temperature: float, softcap: float, out: Tensor,
) -> None:
    """d loss / d s of each row into ``out`` [C, V], any floating dtype; ``out`` may be ``logits`` itself.

    Rows whose ``mask`` is False become 0. With ``picked`` [K] (no mask then), row k of ``out`` [K, V] is that of
    row picked[k].

    The target's entry is formed as a difference in float32 and rounded once: rounding p before taking it from 1
    would leave an error of 20 % at p = 0.99 in bfloat16.
    """
    if mask is not None:
        out[~mask] = 0
    for place in parts(out, mask):
        rows = place if picked is None else picked[place]
        scaled = _scaled(logits[rows], temperature, softcap)
        slope = _cap_slope(scaled, temperature, softcap)
        log_p = scaled.sub_(top[rows, None]).sub_(log_sum[rows, None])
        p = log_p.exp()
        upstream = d_logprob[rows, None].to(p.dtype)
        if d_entropy is None:
            grad = p.mul_(-upstream)
        else:
            weight = log_p.clamp_(min=_NEVER).add_(entropy[rows, None])
            weight.mul_(d_entropy[rows, None]).add_(upstream)
            grad = p.mul_(weight).neg_()
        grad.scatter_add_(-1, targets[rows, None], upstream)
        out[place] = grad.mul_(slope).to(out.dtype)


def empty_stats(like: Tensor, num_rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Zeros for what ``row_stats`` gives: float32, or float64 where ``like`` is."""
    first, second, third, fourth = (like.new_zeros(num_rows, dtype=_wide(like.dtype)) for _ in range(4))
    return first, second, third, fourth


def parts(logits: Tensor, mask: Tensor | None) -> list[Any]:
    """What picks out at most ``CHUNK_NUMBERS`` numbers (one row at least) at a time: slices, or row numbers."""
    num_rows, width = logits.shape
    step = max(1, (CHUNK_NUMBERS_GPU if logits.is_cuda else CHUNK_NUMBERS) // max(1, width))
    if mask is None:
        return [slice(first, min(first + step, num_rows)) for first in range(0, num_rows, step)]
    rows = torch.nonzero(mask).flatten()
    return list(torch.split(rows, step)) if len(rows) else []


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _scaled(logits: Tensor, temperature: float, softcap: float) -> Tensor:
    """z / T in at least float32, in memory of its own."""
    z = logits.to(_wide(logits.dtype), copy=True)
    if softcap:
        z.div_(softcap).tanh_().mul_(softcap)
    return z if temperature == 1.0 else z.div_(temperature)


def _cap_slope(scaled: Tensor, temperature: float, softcap: float) -> Tensor | float:
    """d (z / T) / d s."""
    if not softcap:
        return 1.0 / temperature
    return (scaled * (temperature / softcap)).square_().neg_().add_(1.0).div_(temperature)
