"""A policy loss on logits that exist already: loss and d loss / d logits from one look at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rrl_kernels import dispatch
from rrl_kernels.logits.ops import row_grad, row_grad_, row_stats

TokenLoss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(logprob [c], entropy [c], index [c]) -> (loss scalar, d loss / d logprob [c], d loss / d entropy [c])."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a fused loss showed and was answered, without gradient: [T] each, 0 at masked tokens.

    active: how many tokens have an upstream gradient that is not exactly 0; a 0-dim int64 tensor, so that a GPU
    need not be waited for.
    """

    logprob: Tensor
    entropy: Tensor
    d_logprob: Tensor
    active: Tensor

    @property
    def num_active(self) -> int:
        return int(self.active)


class LogitsPolicyLoss(torch.autograd.Function):
    """(logits, ...) -> loss; forward forms the gradient, backward scales it."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, token_loss: TokenLoss, mask: Tensor | None, temperature: float,
        softcap: float, in_place: bool, learns: bool, seen: list[Seen],
    ) -> Tensor:
        plain = logits.detach()
        logprob, *numbers = row_stats(plain, targets, mask, temperature, softcap)
        loss, d_logprob, d_entropy = whole(token_loss, logprob, numbers[0], mask)
        active = ((d_logprob != 0) | (d_entropy != 0)).sum()
        seen.append(Seen(logprob=logprob, entropy=numbers[0], d_logprob=d_logprob, active=active))
        if learns:
            args = (plain, targets, mask, *numbers, d_logprob, unless_zero(d_entropy))
            if in_place:
                row_grad_(*args, temperature, softcap)
            # Autograd must not see the logits' new content as theirs, so the gradient is kept beside the graph.
            ctx.grad = plain if in_place else row_grad(*args, None, temperature, softcap, None)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        grad, ctx.grad = ctx.grad, None
        if grad is None:
            raise RuntimeError("the fused policy loss was differentiated twice; its gradient was formed in forward")
        return (scaled(grad, upstream[0]), *(None,) * 8)


def composed_policy_loss(
    logprob: Tensor, entropy: Tensor, token_loss: TokenLoss, mask: Tensor | None
) -> tuple[Tensor, Seen]:
    """The same answer from differentiable log-probabilities and entropies, by autograd: what fused losses must equal.

    scalar = loss + sum d_logprob (logprob - stop(logprob)) + sum d_entropy (entropy - stop(entropy)).
    """
    logprob_seen, entropy_seen = logprob.detach(), entropy.detach()
    loss, d_logprob, d_entropy = whole(token_loss, logprob_seen, entropy_seen, mask)
    active = (d_logprob != 0) | (d_entropy != 0)
    surrogate = (torch.where(active, d_logprob * logprob + d_entropy * entropy, 0.0)).sum()
    seen = Seen(logprob=logprob_seen, entropy=entropy_seen, d_logprob=d_logprob, active=active.sum())
    return loss + (surrogate - surrogate.detach()), seen


def whole(
    token_loss: TokenLoss, logprob: Tensor, entropy: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, d loss / d logprob [C], d loss / d entropy [C]) by one call for all unmasked rows; none for no row."""
    index = torch.arange(len(logprob), device=logprob.device) if mask is None else torch.nonzero(mask).flatten()
    if not len(index):
        return logprob.new_zeros(()), torch.zeros_like(logprob), torch.zeros_like(logprob)
    loss, d_logprob, d_entropy = apply(token_loss, logprob[index], entropy[index], index)
    first, second = (torch.zeros_like(logprob).index_copy_(0, index, d) for d in (d_logprob, d_entropy))
    return loss, first, second


def apply(token_loss: TokenLoss, logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``token_loss`` of detached numbers, its answer checked for shape and brought to their dtype and device."""
    loss, d_logprob, d_entropy = token_loss(logprob, entropy, index)
    for name, given in (("d_logprob", d_logprob), ("d_entropy", d_entropy)):
        if given.shape != logprob.shape:
            raise ValueError(f"token_loss gave {name} of shape {list(given.shape)}; expected {list(logprob.shape)}")
    if loss.numel() != 1:
        raise ValueError(f"token_loss gave a loss of shape {list(loss.shape)}; expected a scalar")
    return loss.detach().to(logprob).reshape(()), d_logprob.detach().to(logprob), d_entropy.detach().to(logprob)


def unless_zero(d_entropy: Tensor) -> Tensor | None:
    """``d_entropy``, or None where all of it is 0. A GPU is not waited for: there the term costs nothing."""
    if d_entropy.is_cuda or torch.compiler.is_compiling():
        return d_entropy
    return d_entropy if bool(d_entropy.any()) else None


def scaled(grad: Tensor, upstream: Tensor) -> Tensor:
    """grad x upstream, in grad's own memory: it has no other owner. By 1 it is left as it is, without a pass."""
    if torch.compiler.is_compiling():
        return grad.mul_(upstream)
    if not upstream.is_cuda and float(upstream) == 1.0:
        return grad
    if grad.is_contiguous() and dispatch.pick("scale", grad) == "triton":
        from rrl_kernels.logits.triton_impl import scale_

        scale_(grad, upstream)
        return grad
    return grad.mul_(upstream)  # a 0-dim factor does not promote, and is not rounded to half precision
