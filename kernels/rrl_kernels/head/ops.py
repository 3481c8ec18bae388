"""Scoring through the output layer as ``torch.library`` operators: logits a chunk at a time, made again in backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels.head.chunks import Gradients, chunk_size, raw_logits
from rrl_kernels.logits.ops import row_grad_, row_stats

_SCORE = (
    "(Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, Tensor? mask, float temperature, float softcap, "
    "ScalarType logits_dtype, int chunk_tokens) -> (Tensor, Tensor, Tensor)"
)
_BACKWARD = (
    "(Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, Tensor? mask, Tensor lse, Tensor entropy, "
    "Tensor d_logprob, Tensor? d_entropy, float temperature, float softcap, ScalarType logits_dtype, int chunk_tokens) "
    "-> (Tensor, Tensor, Tensor)"
)


@torch.library.custom_op("rrl_kernels::linear_score", mutates_args=(), schema=_SCORE)
def linear_score(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, mask: Tensor | None, temperature: float,
    softcap: float, logits_dtype: torch.dtype, chunk_tokens: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """(log-probability of the target, entropy, lse) of each row, 0 at masked rows; 2 T H V operations."""
    columns = _empty(hidden, logits_dtype)
    for rows in _chunks(hidden, weight, mask, logits_dtype, chunk_tokens):
        logits = raw_logits(hidden[rows], weight, bias, logits_dtype)
        for column, numbers in zip(columns, row_stats(logits, targets[rows], None, temperature, softcap), strict=True):
            column[rows] = numbers
    return columns


@linear_score.register_fake
def _score_fake(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, mask: Tensor | None,  # noqa: ARG001
    temperature: float, softcap: float, logits_dtype: torch.dtype, chunk_tokens: int,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(hidden, logits_dtype)


@torch.library.custom_op("rrl_kernels::linear_score_backward", mutates_args=(), schema=_BACKWARD)
def linear_score_backward(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, mask: Tensor | None, lse: Tensor,
    entropy: Tensor, d_logprob: Tensor, d_entropy: Tensor | None, temperature: float, softcap: float,
    logits_dtype: torch.dtype, chunk_tokens: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """(dX, dW, db) for any upstream gradient of each row; 6 T H V operations, logits made again."""
    gradients = Gradients(hidden, weight, bias, (True, True, True))
    active = d_logprob != 0 if d_entropy is None else (d_logprob != 0) | (d_entropy != 0)
    if not bool(active.all()):  # exact: the rows left out would add 0 to every gradient
        mask = active if mask is None else mask & active
    for rows in _chunks(hidden, weight, mask, logits_dtype, chunk_tokens):
        states = hidden[rows]
        logits = raw_logits(states, weight, bias, logits_dtype)
        slope = None if d_entropy is None else d_entropy[rows]
        row_grad_(logits, targets[rows], None, lse[rows], entropy[rows], d_logprob[rows], slope, temperature, softcap)
        gradients.add(rows, states, logits)
    d_hidden, d_weight, d_bias = gradients.finished()
    assert d_hidden is not None and d_weight is not None
    return d_hidden, d_weight, weight.new_empty(0) if d_bias is None else d_bias


@linear_score_backward.register_fake
def _backward_fake(hidden: Tensor, weight: Tensor, bias: Tensor | None, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    contiguous = torch.contiguous_format
    d_hidden = torch.empty_like(hidden, memory_format=contiguous)
    d_weight = torch.empty_like(weight, memory_format=contiguous)
    return d_hidden, d_weight, weight.new_empty(0) if bias is None else torch.empty_like(bias)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    hidden, weight, bias, targets, mask, ctx.temperature, ctx.softcap, ctx.logits_dtype, ctx.chunk_tokens = inputs
    _, entropy, lse = output
    ctx.save_for_backward(hidden, weight, bias, targets, mask, lse, entropy)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(lse)


def _backward(ctx: Any, d_logprob: Tensor | None, d_entropy: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
    hidden, weight, bias, targets, mask, lse, entropy = ctx.saved_tensors
    if d_logprob is None and d_entropy is None:
        return (None,) * 9
    if d_logprob is None:
        d_logprob = torch.zeros_like(lse)
    d_hidden, d_weight, d_bias = linear_score_backward(
        hidden, weight, bias, targets, mask, lse, entropy, d_logprob, d_entropy, ctx.temperature, ctx.softcap,
        ctx.logits_dtype, ctx.chunk_tokens,
    )
    return d_hidden, d_weight, None if bias is None else d_bias, *(None,) * 6


linear_score.register_autograd(_backward, setup_context=_save)


def _empty(hidden: Tensor, logits_dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.float64 if logits_dtype == torch.float64 else torch.float32
    first, second, third = (hidden.new_zeros(hidden.shape[0], dtype=dtype) for _ in range(3))
    return first, second, third


def _chunks(
    hidden: Tensor, weight: Tensor, mask: Tensor | None, logits_dtype: torch.dtype, chunk_tokens: int
) -> list[Any]:
    size = chunk_size(chunk_tokens, hidden, len(weight), logits_dtype)
    if mask is None:
        return [slice(first, min(first + size, len(hidden))) for first in range(0, len(hidden), size)]
    wanted = torch.nonzero(mask).flatten()
    return list(torch.split(wanted, size)) if len(wanted) else []
