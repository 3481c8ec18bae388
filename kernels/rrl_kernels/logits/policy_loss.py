"""A policy loss on logits that exist already: loss and d loss / d logits from one look at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rrl_kernels.logits.ops import row_grad, row_grad_, row_stats

TokenLoss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(logprob [c], entropy [c], index [c]) -> (loss scalar, d loss / d logprob [c], d loss / d entropy [c])."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a fused loss showed, without gradient: [T] each, 0 at masked tokens.

    num_active: tokens whose upstream gradient is not exactly 0.
    """

    logprob: Tensor
    entropy: Tensor
    d_logprob: Tensor
    num_active: int


class LogitsPolicyLoss(torch.autograd.Function):
    """(logits, ...) -> loss; forward forms the gradient, backward scales it."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, token_loss: TokenLoss, mask: Tensor | None, temperature: float,
        softcap: float, in_place: bool, seen: list[Seen],
    ) -> Tensor:
        plain = logits.detach()
        logprob, entropy, lse = row_stats(plain, targets, mask, temperature, softcap)
        index = torch.arange(len(plain), device=plain.device) if mask is None else torch.nonzero(mask).flatten()
        loss, d_logprob, d_entropy = apply(token_loss, logprob[index], entropy[index], index)
        whole = [torch.zeros_like(logprob).index_copy_(0, index, d) for d in (d_logprob, d_entropy)]
        seen.append(Seen(
            logprob=logprob, entropy=entropy, d_logprob=whole[0],
            num_active=int(((d_logprob != 0) | (d_entropy != 0)).sum()),
        ))
        if ctx.needs_input_grad[0]:
            slope = whole[1] if bool(d_entropy.any()) else None
            args = (plain, targets, mask, lse, entropy, whole[0], slope, temperature, softcap)
            if in_place:
                row_grad_(*args)
            # Autograd must not see the logits' new content as theirs, so the gradient is kept beside the graph.
            ctx.grad = plain if in_place else row_grad(*args)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        grad, ctx.grad = ctx.grad, None
        if grad is None:
            raise RuntimeError("the fused policy loss was differentiated twice; its gradient was formed in forward")
        return (scaled(grad, upstream[0]), *(None,) * 7)


def apply(token_loss: TokenLoss, logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``token_loss`` of detached numbers, its answer checked for shape and brought to their dtype and device."""
    loss, d_logprob, d_entropy = token_loss(logprob, entropy, index)
    for name, given in (("d_logprob", d_logprob), ("d_entropy", d_entropy)):
        if given.shape != logprob.shape:
            raise ValueError(f"token_loss gave {name} of shape {list(given.shape)}; expected {list(logprob.shape)}")
    if loss.numel() != 1:
        raise ValueError(f"token_loss gave a loss of shape {list(loss.shape)}; expected a scalar")
    return loss.detach().to(logprob).reshape(()), d_logprob.detach().to(logprob), d_entropy.detach().to(logprob)


def scaled(grad: Tensor, upstream: Tensor) -> Tensor:
    """grad x upstream, in grad's own memory: it has no other owner."""
    return grad.mul_(upstream)  # a 0-dim factor does not promote, and is not rounded to half precision
