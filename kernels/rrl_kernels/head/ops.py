"""Scoring through the output layer as ``torch.library`` operators: logits a chunk at a time, made again in backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels.head.chunks import Gradients, Layer, chunk_size, chunks, empty_stats
from rrl_kernels.logits.ops import Stats, row_grad, row_grad_, row_stats

_SCORE = (
    "(Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, Tensor? mask, float temperature, float softcap, "
    "ScalarType logits_dtype, int chunk_tokens) -> (Tensor, Tensor, Tensor, Tensor)"
)
_BACKWARD = (
    "(Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, Tensor? mask, Tensor entropy, Tensor top, "
    "Tensor log_sum, Tensor d_logprob, Tensor? d_entropy, float temperature, float softcap, ScalarType logits_dtype, "
    "int chunk_tokens, bool[] wanted) -> (Tensor, Tensor, Tensor)"
)


@torch.library.custom_op("rrl_kernels::linear_score", mutates_args=(), schema=_SCORE)
def linear_score(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, mask: Tensor | None, temperature: float,
    softcap: float, logits_dtype: torch.dtype, chunk_tokens: int,
) -> Stats:
    """(log-probability of the target, entropy, top, log_sum) of each row, 0 at masked rows; 2 T H V operations."""
    columns = empty_stats(hidden, len(hidden))
    layer = Layer(weight, bias, logits_dtype)
    for rows in chunks(len(hidden), mask, chunk_size(chunk_tokens, hidden, len(weight), logits_dtype)):
        logits = layer.logits(hidden[rows])
        for column, numbers in zip(columns, row_stats(logits, targets[rows], None, temperature, softcap), strict=True):
            column[rows] = numbers
        del logits  # or the next chunk's would be made beside it
    return columns


@linear_score.register_fake
def _score_fake(hidden: Tensor, *_: Any) -> Stats:
    return empty_stats(hidden, hidden.shape[0])


@torch.library.custom_op("rrl_kernels::linear_score_backward", mutates_args=(), schema=_BACKWARD)
def linear_score_backward(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, mask: Tensor | None, entropy: Tensor,
    top: Tensor, log_sum: Tensor, d_logprob: Tensor, d_entropy: Tensor | None, temperature: float, softcap: float,
    logits_dtype: torch.dtype, chunk_tokens: int, wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """(dX, dW, db), empty where not ``wanted``, for any upstream gradient of each row.

    The logits are made again: 6 T H V operations, and only for rows with an upstream gradient.
    """
    gradients = Gradients(hidden, weight, bias, tuple(wanted))
    active = d_logprob != 0 if d_entropy is None else (d_logprob != 0) | (d_entropy != 0)
    if not bool(active.all()):  # exact: the rows left out would add 0 to every gradient
        mask = active if mask is None else mask & active
    layer = Layer(weight, bias, logits_dtype)
    numbers = (entropy, top, log_sum, d_logprob, d_entropy)
    for rows in chunks(len(hidden), mask, chunk_size(chunk_tokens, hidden, len(weight), logits_dtype)):
        states = hidden[rows]
        d_logits = logits_grad(
            layer, layer.logits(states), targets[rows], [None if x is None else x[rows] for x in numbers], None,
            temperature, softcap,
        )
        gradients.add(layer, rows, states, d_logits)
        del d_logits  # or the next chunk's logits would be made beside it
    d_hidden, d_weight, d_bias = (weight.new_empty(0) if g is None else g for g in gradients.finished())
    return d_hidden, d_weight, d_bias


@linear_score_backward.register_fake
def _backward_fake(hidden: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    first, second, third = (
        torch.empty(x.shape, dtype=x.dtype, device=x.device) if x is not None and want else weight.new_empty(0)
        for x, want in zip((hidden, weight, bias), rest[-1], strict=True)
    )
    return first, second, third


def logits_grad(
    layer: Layer, logits: Tensor, targets: Tensor, numbers: list[Tensor | None], picked: Tensor | None,
    temperature: float, softcap: float,
) -> Tensor:
    """d loss / d logits in the dtype of the products: in the logits' memory where dtype and rows allow it.

    numbers: entropy, top, log_sum, d_logprob, d_entropy of each row.
    """
    if picked is None and logits.dtype == layer.gradient_dtype:
        row_grad_(logits, targets, None, *numbers, temperature, softcap)
        return logits
    grad: Tensor = row_grad(logits, targets, None, *numbers, picked, temperature, softcap, layer.gradient_dtype)
    return grad


def _save(ctx: Any, inputs: tuple[Any, ...], output: Stats) -> None:
    hidden, weight, bias, targets, mask, *ctx.options = inputs
    _, *numbers = output
    ctx.save_for_backward(hidden, weight, bias, targets, mask, *numbers)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*numbers[1:])


def _backward(ctx: Any, d_logprob: Tensor | None, d_entropy: Tensor | None, *_: Tensor | None) -> tuple[Any, ...]:
    if d_logprob is None and d_entropy is None:
        return (None,) * 9
    saved = ctx.saved_tensors
    if d_logprob is None:
        d_logprob = torch.zeros_like(saved[5])
    wanted = list(ctx.needs_input_grad[:3])
    grads = linear_score_backward(*saved, d_logprob, d_entropy, *ctx.options, wanted)
    return *(g if want else None for g, want in zip(grads, wanted, strict=True)), *(None,) * 6


linear_score.register_autograd(_backward, setup_context=_save)
