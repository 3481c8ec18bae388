"""A policy loss inside the output layer: logits exist a chunk at a time, and are made once.

Any loss that is a function of (log-probability, entropy) of single tokens gives d loss / d logits in the pass that
made the logits: 6 T H V floating-point operations forward and backward, where scoring and recomputing pay 8.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels.head.chunks import Gradients, chunk_size, raw_logits
from rrl_kernels.logits.ops import row_grad_, row_stats
from rrl_kernels.logits.policy_loss import Seen, TokenLoss, apply, scaled

# Leaving rows out copies the chunk; below this share of rows left out the copy costs more than it saves.
COMPACT_BELOW = 0.9


class LinearPolicyLoss(torch.autograd.Function):
    """(hidden, weight, bias, ...) -> loss; forward forms all gradients, backward scales them."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, token_loss: TokenLoss,
        mask: Tensor | None, temperature: float, softcap: float, logits_dtype: torch.dtype, chunk_tokens: int,
        seen: list[Seen],
    ) -> Tensor:
        gradients = Gradients(hidden, weight, bias, tuple(ctx.needs_input_grad[:3]))
        wide = torch.float64 if logits_dtype == torch.float64 else torch.float32
        columns = [torch.zeros(len(hidden), dtype=wide, device=hidden.device) for _ in range(3)]
        loss, num_active = torch.zeros((), dtype=wide, device=hidden.device), 0
        size = chunk_size(chunk_tokens, hidden, len(weight), logits_dtype)
        everything = torch.arange(len(hidden), device=hidden.device) if mask is None else torch.nonzero(mask).flatten()
        for index in torch.split(everything, size) if len(everything) else ():
            rows = slice(int(index[0]), int(index[-1]) + 1) if mask is None else index
            states, chosen = hidden[rows], targets[rows]
            logits = raw_logits(states, weight, bias, logits_dtype)
            logprob, entropy, lse = row_stats(logits, chosen, None, temperature, softcap)
            part, d_logprob, d_entropy = apply(token_loss, logprob, entropy, index)
            loss += part
            for column, numbers in zip(columns, (logprob, entropy, d_logprob), strict=True):
                column[rows] = numbers
            active = (d_logprob != 0) | (d_entropy != 0)
            kept = int(active.sum())
            num_active += kept
            if not gradients.any_wanted or kept == 0:
                continue
            if kept <= COMPACT_BELOW * len(index):  # exact: the rows left out would add 0 to every gradient
                keep = torch.nonzero(active).flatten()
                rows, states, logits, chosen, lse, entropy, d_logprob, d_entropy = (
                    x[keep] for x in (index, states, logits, chosen, lse, entropy, d_logprob, d_entropy)
                )
            slope = d_entropy if bool(d_entropy.any()) else None
            row_grad_(logits, chosen, None, lse, entropy, d_logprob, slope, temperature, softcap)
            gradients.add(rows, states, logits)
        ctx.gradients = gradients.finished()
        seen.append(Seen(logprob=columns[0], entropy=columns[1], d_logprob=columns[2], num_active=num_active))
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the fused policy loss was differentiated twice; its gradients were formed in forward")
        return (*(None if g is None else scaled(g, upstream[0]) for g in gradients), *(None,) * 8)
