"""A policy loss inside the output layer: logits exist a chunk at a time, and are made once.

Any loss that is a function of (log-probability, entropy) of single tokens gives d loss / d logits in the pass that
made the logits: 6 T H V floating-point operations forward and backward, where scoring and recomputing pay 8.
Tokens whose upstream gradient is exactly 0 leave the two products of backward: (2 + 4 a) T H V at an active share a.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels import checks
from rrl_kernels.head.chunks import Gradients, Layer, chunk_size, chunks, empty_stats
from rrl_kernels.head.ops import logits_grad
from rrl_kernels.logits.ops import row_stats
from rrl_kernels.logits.policy_loss import Seen, TokenLoss, apply, scaled, unless_zero

# Leaving rows out copies the others; below this share of rows left out the copy costs more than it saves.
COMPACT_BELOW = 0.9


class LinearPolicyLoss(torch.autograd.Function):
    """(hidden, weight, bias, ...) -> loss; forward forms all gradients, backward scales them."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, token_loss: TokenLoss,
        mask: Tensor | None, temperature: float, softcap: float, logits_dtype: torch.dtype, chunk_tokens: int,
        max_active: int | None, wanted: tuple[bool, ...], seen: list[Seen],
    ) -> Tensor:
        layer, gradients = Layer(weight, bias, logits_dtype), Gradients(hidden, weight, bias, wanted)
        columns = empty_stats(hidden, len(hidden))
        loss, total = columns[0].new_zeros(()), torch.zeros((), dtype=torch.int64, device=hidden.device)
        everything = torch.arange(len(hidden), device=hidden.device)
        for rows in chunks(len(hidden), mask, chunk_size(chunk_tokens, hidden, len(weight), logits_dtype)):
            index, states, chosen = everything[rows], hidden[rows], targets[rows]
            logits = layer.logits(states)
            logprob, *numbers = row_stats(logits, chosen, None, temperature, softcap)
            part, d_logprob, d_entropy = apply(token_loss, logprob, numbers[0], index)
            loss += part
            for column, new in zip(columns, (logprob, numbers[0], d_logprob), strict=False):
                column[rows] = new
            active = (d_logprob != 0) | (d_entropy != 0)
            total += active.sum()
            if gradients.any_wanted:
                picked = _pick(active, max_active)
                if picked is not None:  # exact: the rows left out would add 0 to every gradient
                    rows, states = index[picked], states[picked]
                if len(states):
                    slopes = [*numbers, d_logprob, unless_zero(d_entropy)]
                    d_logits = logits_grad(layer, logits, chosen, slopes, picked, temperature, softcap)
                    gradients.add(layer, rows, states, d_logits)
                    del d_logits
            del logits  # or the next chunk's would be made beside it
        if torch.compiler.is_compiling():
            ctx.save_for_backward(*gradients.finished())
        else:
            ctx.gradients = gradients.finished()
        seen.append(Seen(logprob=columns[0], entropy=columns[1], d_logprob=columns[2], active=total))
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        if torch.compiler.is_compiling():
            gradients = ctx.saved_tensors
        else:
            gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the fused policy loss was differentiated twice; its gradients were formed in forward")
        return (*(None if g is None else scaled(g, upstream[0]) for g in gradients), *(None,) * 10)


def _pick(active: Tensor, max_active: int | None) -> Tensor | None:
    """Numbers of the rows whose gradient is formed; None = all of them, as they lie.

    With ``max_active`` the number of rows is fixed beforehand, the room left over filled with rows of gradient 0, and
    no device is waited for.
    """
    if max_active is None:
        if torch.compiler.is_compiling() or int(active.sum()) > COMPACT_BELOW * len(active):
            return None
        return torch.nonzero(active).flatten()
    checks.holds(active.sum() <= max_active, f"max_active is {max_active}; more rows of one chunk have a gradient")
    if max_active > COMPACT_BELOW * len(active):
        return None
    return torch.argsort(active.to(torch.uint8), descending=True, stable=True)[:max_active]
