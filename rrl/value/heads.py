"""Bounded heads on any trunk, and what they say of rows and starts.

Shared by every estimator that learns: value inside the task's score range for the advantage, success
in [0, 1] for replay. How they are fitted is in ``fitting``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rrl.ops.advantage import gae, whiten
from rrl.protocols import Trunk
from rrl.ranks import Ranks
from rrl.types import Estimated, Scored, Sequences, Start, sampled


class ReadHeads(Protocol):
    """What a network must have on top to be an estimator. Laws: value inside the score range, success in [0, 1]."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits [B, ...] of hidden states [B, D]."""
        ...

    def value(self, logits: Tensor) -> Tensor:
        """Expected return [B]."""
        ...

    def success(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(P(solved) [B], standard deviation [B], 0 where there is none)."""
        ...


class Heads(torch.nn.Module):
    """``members`` pairs of value = low + (high - low) sigmoid(z_0), success = sigmoid(z_1), z = W hidden + b.

    A bounded output cannot leave the range of possible returns, whatever an early critic thinks.
    W = b = 0 at first: the middle of both ranges, and no noise that replay could rank by. Several
    members are read by their mean, and by their spread as uncertainty.
    """

    def __init__(self, *, width: int, score_range: tuple[float, float], like: Tensor, members: int) -> None:
        """width: of the trunk.  like: a weight whose device and (at least float32) dtype to take.  members: >= 1."""
        super().__init__()
        self.low, self.high = bounds(score_range)
        self.members = members
        self.linear = zero_linear(width, 2 * members, like)

    def forward(self, hidden: Float[Tensor, "B D"]) -> Float[Tensor, "B M"]:
        """Logits of (value, success) of the first member, then of the second, ..."""
        logits: Tensor = self.linear(hidden.to(self.linear.weight))
        return logits

    def value(self, logits: Float[Tensor, "B M"]) -> Float[Tensor, "B"]:
        """Expected return, in (low, high)."""
        return self.low + (self.high - self.low) * torch.sigmoid(logits[:, 0::2]).mean(1)

    def success(self, logits: Float[Tensor, "B M"]) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """(mean, standard deviation of the members, the population's) of P(solved)."""
        each = torch.sigmoid(logits[:, 1::2])
        mean = each.mean(1)
        return mean, (each - mean[:, None]).square().mean(1).sqrt()

    def normalise(self, x: Tensor) -> Tensor:
        """Returns as a share of the score range: low is 0, high is 1."""
        return (x - self.low) / (self.high - self.low)


def bounds(score_range: tuple[float, float]) -> tuple[float, float]:
    """(low, high). Raises ValueError where a value between them would be a constant."""
    low, high = score_range
    if not low < high:
        raise ValueError(f"task.score_range is {score_range}; expected low < high for a bounded critic")
    return low, high


def zero_linear(width: int, num: int, like: Tensor) -> torch.nn.Linear:
    """W hidden + b with W = b = 0, on ``like``'s device, in its dtype or float32 where that is narrower."""
    linear = torch.nn.Linear(width, num, device=like.device, dtype=torch.promote_types(like.dtype, torch.float32))
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    return linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimation:
    """How advantages come out of values. lam_actor/lam_critic: GAE's lambda of the advantage and of
    the value's target.  lam_alpha: see ``actor_lambda``, 0 = off.  bootstrap_truncated: a row cut by
    the length limit goes on with V(s_T).  normalise: advantages whitened per stream, or left as they
    are.  micro_batch_rows: rows or starts a forward, 0 = all."""

    gamma: float
    lam_actor: float
    lam_critic: float
    lam_alpha: float
    bootstrap_truncated: bool
    normalise: Literal["none", "per_stream"]
    micro_batch_rows: int

    def __post_init__(self) -> None:
        for name in ("gamma", "lam_actor", "lam_critic"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"value.{name} is {getattr(self, name)}; expected a number in [0, 1]")
        if self.lam_alpha < 0.0:
            raise ValueError(f"value.lam_alpha is {self.lam_alpha}; expected >= 0 (0 = lam_actor for every row)")
        if self.lam_alpha and self.lam_actor == 1.0:
            raise ValueError(f"value.lam_alpha is {self.lam_alpha}, but value.lam_actor, its floor, is 1 and would be "
                             "every row's lambda; expected a lower floor, e.g. value.lam_actor=0.95")
        if self.normalise not in ("none", "per_stream"):
            raise ValueError(f"value.normalise is {self.normalise!r}; expected none or per_stream")
        if self.micro_batch_rows < 0:
            raise ValueError(f"value.micro_batch_rows is {self.micro_batch_rows}; expected >= 0 (0 = all rows at once)")

    def actor_lambda(self, lengths: Int64[Tensor, "N"]) -> float | Tensor:
        """GAE's lambda of the advantage of rows of l sampled tokens: max(lam_actor, 1 - 1 / (lam_alpha l)).

        Length-adaptive lambda: Yue et al., VAPO, 2504.05118, eq. 4 (alpha .05). Long rows keep their far end: the
        TD errors that reach an action weigh about 1 / (1 - lambda) = alpha l in all. The formula falls below 0 for
        l < 1 / alpha, so lam_actor is its floor. [l 10, 100, 400], alpha .05, floor 0 -> 0, .8, .95.
        """
        if self.lam_alpha == 0.0:
            return self.lam_actor
        return (1.0 - 1.0 / (self.lam_alpha * lengths.double())).clamp(min=self.lam_actor)


@torch.no_grad()
def estimate(trunk: Trunk, heads: ReadHeads, scored: Scored, how: Estimation, ranks: Ranks) -> Estimated:
    """Value, success, advantage and target of every sampled token; nothing flows into a prefix."""
    sequences = scored.rollouts.sequences
    logits = [heads(trunk.hidden(part)) for part in _row_chunks(sequences, how.micro_batch_rows)]
    joined = torch.cat(logits) if logits else heads(torch.zeros(0, trunk.width))
    value = heads.value(joined).float().cpu()
    final = _final_value(trunk, heads, scored, how)

    lam = how.actor_lambda(sequences.lengths)
    advantage = gae(scored.reward, value, final, sequences.offsets, gamma=how.gamma, lam=lam)
    to_target = advantage
    if how.lam_critic != how.lam_actor or how.lam_alpha:
        to_target = gae(scored.reward, value, final, sequences.offsets, gamma=how.gamma, lam=how.lam_critic)
    if how.normalise == "per_stream":
        stream = torch.tensor([s.stream for s in sequences.starts], dtype=torch.int64)[sequences.start_index]
        advantage = whiten(advantage, stream[sequences.row_of], num_segments=3, total=ranks.sum)
    return Estimated(
        scored=scored,
        value=value,
        success=heads.success(joined)[0].float().cpu(),
        advantage=advantage,
        target_return=to_target + value,
    )


@torch.no_grad()
def success(
    trunk: Trunk, heads: ReadHeads, starts: Sequence[Start], micro_batch_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """(P(solved), standard deviation) of each start."""
    step = micro_batch_rows or max(len(starts), 1)
    if not starts:
        return np.zeros(0), np.zeros(0)
    logits = torch.cat([heads(trunk.start_hidden(starts[i : i + step])) for i in range(0, len(starts), step)])
    mean, std = heads.success(logits)
    return mean.double().cpu().numpy(), std.double().cpu().numpy()


def _row_chunks(sequences: Sequences, micro_batch_rows: int) -> list[Sequences]:
    num = sequences.num_rows
    if num == 0:
        return []
    if micro_batch_rows == 0 or micro_batch_rows >= num:
        return [sequences]
    return [sequences.rows(torch.arange(i, min(i + micro_batch_rows, num))) for i in range(0, num, micro_batch_rows)]


def _final_value(trunk: Trunk, heads: ReadHeads, scored: Scored, how: Estimation) -> Tensor:
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
