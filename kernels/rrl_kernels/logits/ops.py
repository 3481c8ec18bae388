"""The row operations as ``torch.library`` operators: one body that picks the implementation, fake tensors, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels import dispatch
from rrl_kernels.logits import torch_impl

# torch.library reads annotations as objects, so Optional and tuple are spelled out below through `schema`.
_STATS = "(Tensor logits, Tensor targets, Tensor? mask, float temperature, float softcap) -> (Tensor, Tensor, Tensor)"
_GRAD = (
    "(Tensor logits, Tensor targets, Tensor? mask, Tensor lse, Tensor entropy, Tensor d_logprob, Tensor? d_entropy, "
    "float temperature, float softcap) -> Tensor"
)
_GRAD_ = _GRAD.replace("(Tensor logits", "(Tensor(a!) logits").replace("-> Tensor", "-> ()")


@torch.library.custom_op("rrl_kernels::row_stats", mutates_args=(), schema=_STATS)
def row_stats(
    logits: Tensor, targets: Tensor, mask: Tensor | None, temperature: float, softcap: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See ``torch_impl.row_stats``; differentiable by logits through log-probability and entropy."""
    if dispatch.pick("row_stats", logits) == "triton":
        from rrl_kernels.logits.triton_impl import row_stats as launch

        return launch(logits, targets, mask, temperature, softcap)
    return torch_impl.row_stats(logits, targets, mask, temperature, softcap)


@row_stats.register_fake
def _row_stats_fake(
    logits: Tensor, targets: Tensor, mask: Tensor | None, temperature: float, softcap: float  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    first, second, third = (logits.new_empty(logits.shape[0], dtype=dtype) for _ in range(3))
    return first, second, third


@torch.library.custom_op("rrl_kernels::row_grad", mutates_args=(), schema=_GRAD)
def row_grad(
    logits: Tensor, targets: Tensor, mask: Tensor | None, lse: Tensor, entropy: Tensor, d_logprob: Tensor,
    d_entropy: Tensor | None, temperature: float, softcap: float,
) -> Tensor:
    """d loss / d logits in new memory; see ``torch_impl.row_grad``."""
    out = torch.empty_like(logits)
    _grad(logits, targets, mask, lse, entropy, d_logprob, d_entropy, temperature, softcap, out)
    return out


@row_grad.register_fake
def _row_grad_fake(logits: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(logits)


@torch.library.custom_op("rrl_kernels::row_grad_", mutates_args=("logits",), schema=_GRAD_)
def row_grad_(
    logits: Tensor, targets: Tensor, mask: Tensor | None, lse: Tensor, entropy: Tensor, d_logprob: Tensor,
    d_entropy: Tensor | None, temperature: float, softcap: float,
) -> None:
    """d loss / d logits in the logits' own memory."""
    _grad(logits, targets, mask, lse, entropy, d_logprob, d_entropy, temperature, softcap, logits)


@row_grad_.register_fake
def _row_grad_in_place_fake(*_: Any) -> None:
    return None


def _grad(
    logits: Tensor, targets: Tensor, mask: Tensor | None, lse: Tensor, entropy: Tensor, d_logprob: Tensor,
    d_entropy: Tensor | None, temperature: float, softcap: float, out: Tensor,
) -> None:
    if dispatch.pick("row_grad", logits) == "triton":
        from rrl_kernels.logits.triton_impl import row_grad as launch

        launch(logits, targets, mask, lse, entropy, d_logprob, d_entropy, temperature, softcap, out)
    else:
        torch_impl.row_grad(logits, targets, mask, lse, entropy, d_logprob, d_entropy, temperature, softcap, out)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, targets, mask, ctx.temperature, ctx.softcap = inputs
    _, entropy, lse = output
    ctx.save_for_backward(logits, targets, mask, lse, entropy)
    ctx.set_materialize_grads(False)  # a loss without an entropy term skips two passes over [C, V]
    ctx.mark_non_differentiable(lse)


def _backward(ctx: Any, d_logprob: Tensor | None, d_entropy: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
    logits, targets, mask, lse, entropy = ctx.saved_tensors
    if d_logprob is None and d_entropy is None:
        return (None,) * 5
    if d_logprob is None:
        d_logprob = torch.zeros_like(lse)
    grad = row_grad(logits, targets, mask, lse, entropy, d_logprob, d_entropy, ctx.temperature, ctx.softcap)
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
        logprob, entropy, lse = row_stats(logits.detach(), targets, mask, temperature, softcap)
        ctx.save_for_backward(logits, targets, mask, lse, entropy)
        ctx.temperature, ctx.softcap = temperature, softcap
        ctx.set_materialize_grads(False)
        return logprob, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        logits, targets, mask, lse, entropy = ctx.saved_tensors
        d_logprob, d_entropy = grads
        if d_logprob is None and d_entropy is None:
            return (None,) * 5
        if d_logprob is None:
            d_logprob = torch.zeros_like(lse)
        row_grad_(logits, targets, mask, lse, entropy, d_logprob, d_entropy, ctx.temperature, ctx.softcap)
        return logits, None, None, None, None
