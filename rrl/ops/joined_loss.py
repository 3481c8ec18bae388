"""Several token losses over one axis A: the policy's one forward serves them all.

Stretches may overlap: losses of the same tokens (surrogate and KL) simply add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rrl.protocols import TokenLoss


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """``token_loss`` of the tokens first:last of axis A; it sees indices from 0. name: for metrics."""

    name: str
    first: int
    last: int
    token_loss: TokenLoss


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the forward showed: log-prob, entropy and d loss/d log-prob of every token on axis A."""

    logprob: Float[Tensor, "A"]
    entropy: Float[Tensor, "A"]
    d_logprob: Float[Tensor, "A"]


class JoinedLoss:
    """The sum of all stretches' losses, as one TokenLoss that remembers what passed through it."""

    def __init__(self, stretches: Sequence[Stretch], num_tokens: int) -> None:
        self._stretches = [s for s in stretches if s.last > s.first]
        self._num_tokens = num_tokens
        self._chunks: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self._losses: dict[str, Tensor] = {}

    def shifted(self, by: int) -> TokenLoss:
        """The same loss for a piece of the axis that begins at token ``by`` (a micro-batch)."""
        return lambda logprob, entropy, index: self(logprob, entropy, index + by)

    def __call__(self, logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss = logprob.new_zeros(())
        d_logprob, d_entropy = torch.zeros_like(logprob), torch.zeros_like(entropy)
        for s in self._stretches:
            here = torch.nonzero((index >= s.first) & (index < s.last)).flatten()
            if len(here) == 0:
                continue
            part, by_logprob, by_entropy = s.token_loss(logprob[here], entropy[here], index[here] - s.first)
            d_logprob.index_add_(0, here, by_logprob)
            d_entropy.index_add_(0, here, by_entropy)
            loss = loss + part
            self._losses[s.name] = self._losses.get(s.name, 0.0) + part.detach()
        self._chunks.append((index.detach(), logprob.detach(), entropy.detach(), d_logprob))
        return loss, d_logprob, d_entropy

    @property
    def losses(self) -> dict[str, float]:
        """The loss so far of each name, this rank's tokens only."""
        return {name: float(loss) for name, loss in self._losses.items()}

    def seen(self) -> Seen:
        """Everything seen so far, on the CPU; tokens not seen are 0."""
        columns = [torch.zeros(self._num_tokens, dtype=torch.float64) for _ in range(3)]
        for index, *parts in self._chunks:
            for column, part in zip(columns, parts, strict=True):
                column[index.cpu()] = part.double().cpu()
        return Seen(logprob=columns[0], entropy=columns[1], d_logprob=columns[2])


def lesson_loss(weight: Tensor, logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A TokenLoss once ``weight`` [A] is bound: - sum of weight x log pi."""
    w = weight[index.to(weight.device)].to(logprob)
    return -(w * logprob).sum(), -w, torch.zeros_like(entropy)
