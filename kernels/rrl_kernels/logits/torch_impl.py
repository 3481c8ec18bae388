"""Chosen log-probability and entropy from logits, with the analytic backward, in plain torch.

Only the entropy of each row is kept for backward, so beside the logits and their gradient the memory
is one chunk of rows. Legend: C rows, V vocabulary, p = softmax(z / T).

    d log p[y] / d z = (onehot(y) - p) / T
    d H        / d z = -p (log p + H) / T
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# 4 M numbers a chunk: 16 MiB of float32 scratch, large enough that the chunk loop costs nothing.
_CHUNK_NUMBERS = 1 << 22


class LogprobEntropy(torch.autograd.Function):
    """(logits [C, V], targets [C], temperature) -> (logprob [C], entropy [C]); twice differentiation is refused."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        num_rows = logits.shape[0]
        logprob, entropy = logits.new_empty(num_rows), logits.new_empty(num_rows)
        for rows in _chunks(logits):
            log_p = _log_softmax(logits[rows], temperature)
            logprob[rows] = log_p.gather(-1, targets[rows, None])[:, 0]
            # A logit of -inf has p = 0 and adds nothing to H; without the clamp 0 * -inf would be NaN.
            log_p.clamp_(min=torch.finfo(log_p.dtype).min)
            entropy[rows] = torch.linalg.vecdot(log_p.exp(), log_p).neg_()
        ctx.save_for_backward(logits, targets, entropy)
        ctx.temperature = temperature
        ctx.set_materialize_grads(False)  # a loss without an entropy term skips two passes over [C, V]
        return logprob, entropy

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, None, None]:
        logits, targets, entropy = ctx.saved_tensors
        grad_logprob, grad_entropy = (None if g is None else g / ctx.temperature for g in grad_outputs)
        if grad_logprob is None and grad_entropy is None:
            return None, None, None
        grad = torch.empty_like(logits)
        for rows in _chunks(logits):
            log_p = _log_softmax(logits[rows], ctx.temperature)
            part = torch.exp(log_p, out=grad[rows])
            if grad_entropy is None:
                assert grad_logprob is not None
                part.mul_(grad_logprob[rows, None]).neg_()
            else:
                slope = log_p.clamp_(min=torch.finfo(log_p.dtype).min).add_(entropy[rows, None])
                slope.mul_(grad_entropy[rows, None])
                if grad_logprob is not None:
                    slope.add_(grad_logprob[rows, None])
                part.mul_(slope).neg_()
            if grad_logprob is not None:
                part.scatter_add_(-1, targets[rows, None], grad_logprob[rows, None])
        return grad, None, None


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(logits if temperature == 1.0 else logits / temperature, dim=-1)


def _chunks(logits: Tensor) -> list[slice]:
    num_rows, width = logits.shape
    step = max(1, _CHUNK_NUMBERS // max(1, width))
    return [slice(first, min(first + step, num_rows)) for first in range(0, num_rows, step)]
