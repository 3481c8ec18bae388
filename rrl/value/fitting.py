"""How heads (and the trunk below them, if it is theirs) learn from a step's rows.

Monte-Carlo regression on a bounded output by cross-entropy: at a sampled state the target is the
return, not the critic's own guess. Fresh and replayed rows are averaged apart, then mixed by their
share of rows, so that long replayed rows cannot crowd out fresh ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from rrl import rng
from rrl.ops.minibatch import Part, minibatches
from rrl.ops.optimizer import check_adam, linear_decay, set_lr
from rrl.protocols import Trunk
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics
from rrl.value.heads import ReadHeads
from rrl.value.losses import Labels, Losses


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """Numbers of the fit; see conf/value/critic.yaml for units and reasons."""

    lr: float
    lr_final_frac: float
    betas: tuple[float, ...]
    eps: float
    epochs: int
    minibatches: int
    warm_up_steps: int
    grad_norm: float
    micro_batch_rows: int

    def __post_init__(self) -> None:
        check_adam(self.betas, self.eps, "value")
        for name in ("epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"value.{name} is {getattr(self, name)}; expected >= 1")
        for name in ("lr", "warm_up_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"value.{name} is {getattr(self, name)}; expected >= 0")
        if self.grad_norm <= 0:
            raise ValueError(f"value.grad_norm is {self.grad_norm}; expected > 0 (.inf = no clipping)")

    def optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Adam:
        """Adam over ``parameters``."""
        return torch.optim.Adam(parameters, lr=self.lr, betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=True)


class NonFiniteGradient(FloatingPointError):
    """The gradient of a value's losses is NaN or infinite."""


def fit_heads(
    trunk: Trunk,
    heads: ReadHeads,
    optimizer: torch.optim.Adam,
    estimated: Estimated,
    progress: Progress,
    *,
    losses: Losses,
    how: Fitting,
    ranks: Ranks,
    seed: int,
) -> Metrics:
    """Fit the heads to the rows of one step: epochs x minibatches, or full-batch steps in warm-up.

    Args:
      estimated: this rank's rows, with the estimates made before this fit.
      progress: step < 0 is value warm-up: ``warm_up_steps`` steps on all rows at once.
      losses: of each token, from its logits and what happened.
    Returns:
      value/loss, value/lr and value/grad_norm; nothing where there are no rows.
    Raises:
      NonFiniteGradient: a gradient is not finite; the optimizer has not stepped on it.
    """
    sequences = estimated.sequences
    replayed = torch.tensor([s.replayed for s in sequences.starts], dtype=torch.bool)[sequences.start_index]
    streams = [torch.nonzero(~replayed).flatten(), torch.nonzero(replayed).flatten()]
    epochs, num = (how.warm_up_steps, 1) if progress.step < 0 else (how.epochs, how.minibatches)
    lr = linear_decay(how.lr, how.lr_final_frac, progress.done_frac)
    set_lr(optimizer, lr)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    totals, norms = [], []
    for parts in minibatches(
        [sequences.lengths[rows] for rows in streams], ranks=ranks, epochs=epochs, num=num,
        generator=lambda epoch, stream: rng.generator(seed, "value", progress.step, epoch, stream),
    ):
        optimizer.zero_grad(set_to_none=True)
        totals.append(_backward(trunk, heads, losses, estimated, streams, parts, how.micro_batch_rows, progress.step))
        ranks.sum_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, how.grad_norm)
        if not torch.isfinite(norm):
            raise NonFiniteGradient(
                f"the value gradient's norm is {float(norm)} at step {progress.step}; its rewards span "
                f"{_span(estimated.scored.reward)}, value.lr is {lr:.3g}; lower value.lr or value.success_coef"
            )
        optimizer.step()
        norms.append(float(norm))
    optimizer.zero_grad(set_to_none=True)  # a trunk that is the policy's must not keep our gradient
    if not totals:
        return {}
    mean = sum(ranks.sum(totals)) / len(totals)
    return {"value/loss": mean, "value/grad_norm": sum(norms) / len(norms), "value/lr": lr}


def _backward(
    trunk: Trunk, heads: ReadHeads, losses: Losses, estimated: Estimated, streams: list[Tensor], parts: list[Part],
    micro_batch_rows: int, step: int,
) -> float:
    """Add this mini-batch's gradient; its loss, this rank's rows only."""
    all_rows = sum(part.total_rows for part in parts)
    rows = torch.cat([stream[part.rows] for stream, part in zip(streams, parts, strict=True)])
    weight = torch.cat([
        torch.full((len(part.rows),), part.total_rows / all_rows / max(part.num_tokens, 1), dtype=torch.float64)
        for part in parts
    ])
    firsts = [sum(part.total_rows for part in parts[:s]) + part.first_row for s, part in enumerate(parts)]
    number = torch.cat([part.rows + first for part, first in zip(parts, firsts, strict=True)])
    size = micro_batch_rows or max(len(rows), 1)
    total = 0.0
    for first in range(0, len(rows), size):
        chunk = estimated.rows(rows[first : first + size])
        lengths = chunk.sequences.lengths
        logits = heads(trunk.hidden(chunk.sequences))
        target, solved, old, w = (
            x.to(logits)
            for x in (
                chunk.target_return,
                torch.repeat_interleave(chunk.scored.solved.float(), lengths),
                chunk.value,
                torch.repeat_interleave(weight[first : first + size], lengths),
            )
        )
        row = torch.repeat_interleave(number[first : first + size], lengths)
        labels = Labels(target_return=target, solved=solved, old_value=old, row=row, step=step)
        loss = (w * losses(logits, labels)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _span(reward: Tensor) -> str:
    return f"{float(reward.min()):.3g} to {float(reward.max()):.3g}" if len(reward) else "nothing"
