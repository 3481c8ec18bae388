"""CISPO: REINFORCE whose importance weight is clipped, not its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from rrl.objective.binding import Aggregation, bound, check_aggregation, token_weight
from rrl.protocols import TokenLoss
from rrl.types import Estimated


class CISPO:
    """loss = - sum_u w_u sg(clip(r_u, 1 - clip_low, 1 + clip_high)) A_u log pi(y_u) - c_H sum_u w_u H_u.

    r_u = pi(y_u) / pi_behaviour(y_u), sg = no gradient through it. MiniMax-M1, 2506.13585. A token outside
    the range keeps a gradient of bounded size where PPO drops it: rare tokens that begin a new line of thought go on
    learning.
    """

    whole_rows = False

    def __init__(self, *, clip_low: float, clip_high: float, entropy_coef: float, aggregation: Aggregation) -> None:
        """See conf/objective/cispo.yaml. Raises ValueError for a bound that cannot clip."""
        if not 0.0 < clip_low <= 1.0:
            raise ValueError(f"objective.clip_low is {clip_low}; expected a number in (0, 1] (1 = no lower bound)")
        if clip_high <= 0.0:
            raise ValueError(f"objective.clip_high is {clip_high}; expected > 0")
        check_aggregation(aggregation)
        self.clip_range = (1.0 - clip_low, 1.0 + clip_high)
        self._entropy_coef, self._aggregation = entropy_coef, aggregation

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The token loss of these rows; arguments as in ``rrl.objective.binding.token_weight``."""
        weight = token_weight(estimated, self._aggregation, share, num_tokens, num_rows)
        return bound(estimated, weight, self._entropy_coef, self._surrogate)

    def _surrogate(
        self, logprob: Tensor, old: Tensor, advantage: Tensor, index: Tensor  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        slope = torch.exp(logprob - old).clamp(*self.clip_range).detach() * advantage
        return slope * logprob, slope
