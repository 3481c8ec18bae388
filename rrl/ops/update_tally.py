"""The learn/* metrics of one update: sums over mini-batches and ranks, divided once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rrl.ops.joined_loss import Seen
from rrl.ops.kl import k3
from rrl.ranks import Ranks
from rrl.types import Estimated, Metrics

_LOSS_NAMES = {
    "policy": "learn/loss", "kl": "learn/kl_loss", "lesson": "learn/lesson_loss", "solved": "learn/solved_loss",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class UpdateTally:
    """Sums over an update's mini-batches, reduced over ranks once at the end."""

    clip_range: tuple[float, float]
    grad_norms: list[float] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    gap: float = 0.0
    largest: float = 0.0

    def add(
        self,
        seen: Seen,
        behavior_logprob: Tensor,
        reference_logprob: Tensor | None,
        losses: dict[str, float],
        grad_norm: float,
    ) -> None:
        """Book one mini-batch.

        Args:
          seen: what the forward showed; its first len(behavior_logprob) tokens are the terms'.
          behavior_logprob, reference_logprob: of those tokens.
          losses: "policy", "kl", "lesson" and "solved", where there is one.
          grad_norm: before clipping.
        """
        num = len(behavior_logprob)
        old, new = behavior_logprob.double(), seen.logprob[:num]
        ratio, (low, high) = torch.exp(new - old), self.clip_range
        if not self.grad_norms and num:  # before the first step the trainer is still the sampler
            self.gap = float((new - old).abs().max())
        if num:
            self.largest = max(self.largest, float((new - old).abs().max()))
        self.grad_norms.append(grad_norm)
        self._count("tokens", num)
        self._count("learn/clip_frac", float(((ratio < low) | (ratio > high)).sum()))
        self._count("learn/kl_behavior_nats", float(k3(old, new)[0].sum()))
        self._count("learn/entropy_nats", float(seen.entropy[:num].sum()))
        if reference_logprob is not None:
            self._count("learn/kl_reference_nats", float((new - reference_logprob.double()).sum()))
        for name, loss in losses.items():
            self._count(_LOSS_NAMES[name], loss)

    def _count(self, name: str, x: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + x

    def metrics(self, ranks: Ranks) -> Metrics:
        """Means over tokens; losses and gradient norms are means over mini-batches."""
        names = sorted(set(ranks.gather(list(self.sums))))  # a rank may have had no lesson row
        total = dict(zip(names, ranks.sum([self.sums.get(n, 0.0) for n in names]), strict=True))
        tokens, steps = total.pop("tokens", 0.0), len(self.grad_norms)
        if steps == 0:
            return {}
        per = {n: steps if n.endswith("loss") else tokens for n in total}
        means = {n: x / per[n] for n, x in total.items() if per[n]}
        return means | {
            "learn/grad_norm": sum(self.grad_norms) / steps,
            "rollout/logprob_gap_nats": max(ranks.gather([self.gap])),
            "learn/log_ratio_max_nats": max(ranks.gather([self.largest])),
        }


def zero_advantage_frac(terms: Sequence[tuple[Estimated, float]], ranks: Ranks) -> Metrics:
    """Share of the terms' tokens, over all ranks, whose advantage is 0: groups of equal rewards teach nothing."""
    none = sum(int((term.advantage == 0.0).sum()) for term, _ in terms)
    none_of_all, tokens = ranks.sum([none, sum(len(term.advantage) for term, _ in terms)])
    return {"learn/zero_advantage_frac": none_of_all / tokens} if tokens else {}
