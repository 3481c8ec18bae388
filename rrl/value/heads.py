"""Two bounded scalar heads on any trunk, and what they say of rows and starts.

Shared by ``critic`` (own trunk) and ``critic_head`` (the policy's): value inside the task's score
range for the advantage, success in [0, 1] for replay. How they are fitted is in ``fitting``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rrl.ops.advantage import gae, whiten
from rrl.protocols import Trunk
from rrl.ranks import Ranks
from rrl.types import Estimated, Scored, Sequences, Start, sampled


class Heads(torch.nn.Module):
    """value = low + (high - low) sigmoid(z_0), success = sigmoid(z_1), z = W hidden + b.

    A bounded output cannot leave the range of possible returns, whatever an early critic thinks.
    W = b = 0 at first: the middle of both ranges, and no noise that replay could rank by.
    """

    def __init__(self, *, width: int, score_range: tuple[float, float], like: Tensor) -> None:
        """width: of the trunk.  like: a weight whose device and (at least float32) dtype to take."""
        super().__init__()
        self.low, self.high = score_range
        if not self.low < self.high:
            raise ValueError(f"task.score_range is {score_range}; expected low < high for a bounded critic")
        dtype = torch.promote_types(like.dtype, torch.float32)
        self.linear = torch.nn.Linear(width, 2, device=like.device, dtype=dtype)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Float[Tensor, "B D"]) -> Float[Tensor, "B 2"]:
        """Logits of (value, success)."""
        logits: Tensor = self.linear(hidden.to(self.linear.weight.dtype))
        return logits

    def value(self, logits: Float[Tensor, "B 2"]) -> Float[Tensor, "B"]:
        """Expected return, in (low, high)."""
        return self.low + (self.high - self.low) * torch.sigmoid(logits[:, 0])

    def normalise(self, x: Tensor) -> Tensor:
        """Returns as a share of the score range: low is 0, high is 1."""
        return (x - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimation:
    """How advantages come out of values. lam_actor/lam_critic: GAE's lambda of the advantage and of
    the value's target.  bootstrap_truncated: a row cut by the length limit goes on with V(s_T).
    normalise: advantages whitened per stream, or left as they are.  micro_batch_rows: rows or
    starts a forward, 0 = all."""

    gamma: float
    lam_actor: float
    lam_critic: float
    bootstrap_truncated: bool
    normalise: Literal["none", "per_stream"]
    micro_batch_rows: int

    def __post_init__(self) -> None:
        for name in ("gamma", "lam_actor", "lam_critic"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"value.{name} is {getattr(self, name)}; expected a number in [0, 1]")
        if self.normalise not in ("none", "per_stream"):
            raise ValueError(f"value.normalise is {self.normalise!r}; expected none or per_stream")
        if self.micro_batch_rows < 0:
            raise ValueError(f"value.micro_batch_rows is {self.micro_batch_rows}; expected >= 0 (0 = all rows at once)")


@torch.no_grad()
def estimate(trunk: Trunk, heads: Heads, scored: Scored, how: Estimation, ranks: Ranks) -> Estimated:
    """Value, success, advantage and target of every sampled token; nothing flows into a prefix."""
    sequences = scored.rollouts.sequences
    logits = [heads(trunk.hidden(part)) for part in _row_chunks(sequences, how.micro_batch_rows)]
    joined = torch.cat(logits) if logits else torch.zeros(0, 2)
    value = heads.value(joined).float().cpu()
    final = _final_value(trunk, heads, scored, how)

    advantage = gae(scored.reward, value, final, sequences.offsets, gamma=how.gamma, lam=how.lam_actor)
    to_target = advantage
    if how.lam_critic != how.lam_actor:
        to_target = gae(scored.reward, value, final, sequences.offsets, gamma=how.gamma, lam=how.lam_critic)
    if how.normalise == "per_stream":
        stream = torch.tensor([s.replayed for s in sequences.starts], dtype=torch.int64)[sequences.start_index]
        advantage = whiten(advantage, stream[sequences.row_of], num_segments=2, total=ranks.sum)
    return Estimated(
        scored=scored,
        value=value,
        success=torch.sigmoid(joined[:, 1]).float().cpu(),
        advantage=advantage,
        target_return=to_target + value,
    )


@torch.no_grad()
def success(
    trunk: Trunk, heads: Heads, starts: Sequence[Start], micro_batch_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """(P(solved), 0) of each start: one critic knows no spread."""
    step = micro_batch_rows or max(len(starts), 1)
    chunks = [heads(trunk.start_hidden(starts[i : i + step]))[:, 1] for i in range(0, len(starts), step)]
    mean = torch.sigmoid(torch.cat(chunks)).double().cpu().numpy() if chunks else np.zeros(0)
    return mean, np.zeros(len(starts))


def _row_chunks(sequences: Sequences, micro_batch_rows: int) -> list[Sequences]:
    num = sequences.num_rows
    if num == 0:
        return []
    if micro_batch_rows == 0 or micro_batch_rows >= num:
        return [sequences]
    return [sequences.rows(torch.arange(i, min(i + micro_batch_rows, num))) for i in range(0, num, micro_batch_rows)]


def _final_value(trunk: Trunk, heads: Heads, scored: Scored, how: Estimation) -> Tensor:
    """V(s_T) of each row: 0 where it ended (or bootstrap_truncated is off), else the value of its last state."""
    sequences = scored.rollouts.sequences
    final = torch.zeros(sequences.num_rows)
    cut = torch.nonzero(~scored.rollouts.ended).flatten()
    if not how.bootstrap_truncated or len(cut) == 0:
        return final
    states = [_longer(sequences.start_of(i), sequences.tokens_of(i)) for i in cut.tolist()]
    step = how.micro_batch_rows or len(states)
    chunks = [heads.value(heads(trunk.start_hidden(states[i : i + step]))) for i in range(0, len(states), step)]
    final[cut] = torch.cat(chunks).float().cpu()
    return final


def _longer(start: Start, tokens: tuple[int, ...]) -> Start:
    # A cut row has used up max_response, and a Start must leave room for one token: give it that room.
    prefix = start.prefix + tokens
    return Start(problem=replace(start.problem, max_response=len(sampled(prefix)) + 1), prefix=prefix)
