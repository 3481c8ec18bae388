"""The row operations as ``torch.library`` operators: one body that picks the implementation, fake tensors, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels import dispatch
from rrl_kernels.logits import torch_impl

Stats = tuple[Tensor, Tensor, Tensor, Tensor]

_STATS = (
    "(Tensor logits, Tensor targets, Tensor? mask, float temperature, float softcap) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)
_GRAD = (
    "(Tensor logits, Tensor targets, Tensor? mask, Tensor entropy, Tensor top, Tensor log_sum, Tensor d_logprob, "
    "Tensor? d_entropy, Tensor? picked, float temperature, float softcap, ScalarType? dtype) -> Tensor"
)
_GRAD_ = (
    "(Tensor(a!) logits, Tensor targets, Tensor? mask, Tensor entropy, Tensor top, Tensor log_sum, Tensor d_logprob, "
    "Tensor? d_entropy, float temperature, float softcap) -> ()"
)


@torch.library.custom_op("rrl_kernels::row_stats", mutates_args=(), schema=_STATS)
def row_stats(logits: Tensor, targets: Tensor, mask: Tensor | None, temperature: float, softcap: float) -> Stats:
    """See ``torch_impl.row_stats``; differentiable by logits through log-probability and entropy."""
    if dispatch.pick("row_stats", logits) == "triton":
        from rrl_kernels.logits.triton_impl import row_stats as launch

        return launch(logits, targets, mask, temperature, softcap)
    return torch_impl.row_stats(logits, targets, mask, temperature, softcap)


@row_stats.register_fake
def _row_stats_fake(logits: Tensor, *_: Any) -> Stats:
    return torch_impl.empty_stats(logits, logits.shape[0])


@torch.library.custom_op("rrl_kernels::row_grad", mutates_args=(), schema=_GRAD)
def row_grad(
    logits: Tensor, targets: Tensor, mask: Tensor | None, entropy: Tensor, top: Tensor, log_sum: Tensor,
    d_logprob: Tensor, d_entropy: Tensor | None, picked: Tensor | None, temperature: float, softcap: float,
    dtype: torch.dtype | None,
) -> Tensor:
    """d loss / d logits in new memory, in ``dtype`` (None = that of the logits); of rows ``picked`` only, if given."""
    num_rows = len(logits) if picked is None else len(picked)
    out = torch.empty(num_rows, logits.shape[1], dtype=dtype or logits.dtype, device=logits.device)
    _grad(logits, targets, mask, entropy, top, log_sum, d_logprob, d_entropy, picked, temperature, softcap, out)
    return out


@row_grad.register_fake
def _row_grad_fake(
    logits: Tensor, targets: Tensor, mask: Tensor | None, entropy: Tensor, top: Tensor, log_sum: Tensor,  # noqa: ARG001
    d_logprob: Tensor, d_entropy: Tensor | None, picked: Tensor | None, temperature: float, softcap: float,  # noqa: ARG001
    dtype: torch.dtype | None,
) -> Tensor:
    rows = logits if picked is None else picked
    return torch.empty(rows.shape[0], logits.shape[1], dtype=dtype or logits.dtype, device=logits.device)


@torch.library.custom_op("rrl_kernels::row_grad_", mutates_args=("logits",), schema=_GRAD_)
def row_grad_(
    logits: Tensor, targets: Tensor, mask: Tensor | None, entropy: Tensor, top: Tensor, log_sum: Tensor,
    d_logprob: Tensor, d_entropy: Tensor | None, temperature: float, softcap: float,
) -> None:
    """d loss / d logits in the logits' own memory."""
    _grad(logits, targets, mask, entropy, top, log_sum, d_logprob, d_entropy, None, temperature, softcap, logits)


@row_grad_.register_fake
def _row_grad_in_place_fake(*_: Any) -> None:
    return None


def _grad(
    logits: Tensor, targets: Tensor, mask: Tensor | None, entropy: Tensor, top: Tensor, log_sum: Tensor,
    d_logprob: Tensor, d_entropy: Tensor | None, picked: Tensor | None, temperature: float, softcap: float, out: Tensor,
) -> None:
    numbers = (entropy, top, log_sum, d_logprob, d_entropy, picked, temperature, softcap, out)
    if dispatch.pick("row_grad", logits) == "triton":
        from rrl_kernels.logits.triton_impl import row_grad as launch

        launch(logits, targets, mask, *numbers)
    else:
        torch_impl.row_grad(logits, targets, mask, *numbers)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Stats) -> None:
    logits, targets, mask, ctx.temperature, ctx.softcap = inputs
    _, entropy, top, log_sum = output
    ctx.save_for_backward(logits, targets, mask, entropy, top, log_sum)
    ctx.set_materialize_grads(False)  # a loss without an entropy term skips its part of the pass
    ctx.mark_non_differentiable(top, log_sum)


def _backward(ctx: Any, d_logprob: Tensor | None, d_entropy: Tensor | None, *_: Tensor | None) -> tuple[Any, ...]:
    if d_logprob is None and d_entropy is None:
        return (None,) * 5
    logits, targets, mask, *numbers = ctx.saved_tensors
    if d_logprob is None:
        d_logprob = torch.zeros_like(numbers[0])
    grad = row_grad(
        logits, targets, mask, *numbers, d_logprob, d_entropy, None, ctx.temperature, ctx.softcap, None
    )
    return grad, None, None, None, None


row_stats.register_autograd(_backward, setup_context=_save)


class InPlace(torch.autograd.Function):
    """``row_stats`` whose backward writes into the logits: no second [C, V], and nobody may need them after.

    Autograd's version counter refuses a second backward, and any other consumer that still needs the logits.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, mask: Tensor | None, temperature: float, softcap: float
    ) -> tuple[Tensor, Tensor]:
        logprob, *numbers = row_stats(logits.detach(), targets, mask, temperature, softcap)
        ctx.save_for_backward(logits, targets, mask, *numbers)
        ctx.temperature, ctx.softcap = temperature, softcap
        ctx.set_materialize_grads(False)
        return logprob, numbers[0]

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        d_logprob, d_entropy = grads
        if d_logprob is None and d_entropy is None:
            return (None,) * 5
        logits, targets, mask, *numbers = ctx.saved_tensors
        if d_logprob is None:
            d_logprob = torch.zeros_like(numbers[0])
        spent = logits.detach()  # the gradient must not carry the logits' own history
        row_grad_(spent, targets, mask, *numbers, d_logprob, d_entropy, ctx.temperature, ctx.softcap)
        return spent, None, None, None, None
