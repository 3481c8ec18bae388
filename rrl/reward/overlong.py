"""Another reward, less a price for responses that come near to the length limit."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float32
from torch import Tensor

from rrl.protocols import Reward
from rrl.types import Rollouts, Scored, Sequences, sampled


class Overlong:
    """DAPO's soft overlong punishment (Yu et al., 2503.14476, eq. 13), charged on the row's last token.

    With L the longest response that the problem allows, C = cache_frac L and |y| the sampled tokens of the whole
    response, a replayed prefix included: 0 up to L - C, then penalty ((L - C) - |y|) / C, which reaches -penalty at L,
    where a response is cut. Problems of one exact length have nothing to shorten and pay nothing. ``score`` and
    ``solved`` stay the base's, so neither replay nor evaluation sees the price.

    Example: L 10, cache_frac .2, penalty 1; 8, 9 and 10 tokens pay 0, 1/2 and 1.
    """

    def __init__(self, *, base: Reward, cache_frac: float, penalty: float) -> None:
        """See conf/reward/overlong.yaml. Raises ValueError for a share or a price out of range."""
        if not 0.0 < cache_frac <= 1.0:
            raise ValueError(f"reward.cache_frac is {cache_frac}; expected a number in (0, 1]")
        if penalty < 0.0:
            raise ValueError(f"reward.penalty is {penalty}; expected >= 0")
        self._base, self._cache_frac, self._penalty = base, cache_frac, penalty

    @property
    def dropped(self) -> int:
        """Rows that the base left out in its last call."""
        return self._base.dropped

    def score(self, rollouts: Rollouts) -> Scored:
        """The base's verdicts with the shaped reward."""
        scored = self._base.score(rollouts)
        sequences = scored.rollouts.sequences
        reward = scored.reward.clone()
        reward[sequences.offsets[1:] - 1] -= self._penalty * self._overlong(sequences)
        return replace(scored, reward=reward)

    def _overlong(self, sequences: Sequences) -> Float32[Tensor, "N"]:
        """How far each response is inside the last C tokens, [0, 1]."""
        starts = sequences.starts
        before = torch.tensor([len(sampled(start.prefix)) for start in starts], dtype=torch.float32)
        limit = torch.tensor([start.problem.max_response for start in starts], dtype=torch.float32)
        free = torch.tensor([not start.problem.exact_length for start in starts], dtype=torch.float32)
        cache = self._cache_frac * limit
        at = sequences.start_index
        used = before[at] + sequences.lengths
        return free[at] * ((used - (limit - cache)[at]) / cache[at]).clamp(0.0, 1.0)
