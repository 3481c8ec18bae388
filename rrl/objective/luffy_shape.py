"""LUFFY's policy shaping: a ratio that saturates, so that unlikely tokens learn most and none is clipped."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrl.objective.binding import NEVER_CLIPPED, Aggregation, bound, check_aggregation, token_weight
from rrl.protocols import TokenLoss
from rrl.types import Estimated


class LuffyShape:
    """loss = - sum_u w_u f(r_u) A_u - c_H sum_u w_u H_u, f(r) = r / (r + gamma), r_u = pi(y_u) / pi_behaviour(y_u).

    d f/d log pi = gamma r / (r + gamma)^2: 1/4 at r = gamma, falling on both sides. Yan et al., 2504.14945;
    there pi_behaviour = 1 for an external trace (log-prob 0 in ``behavior_logprob``), so r is pi itself.
    """

    whole_rows = False
    clip_range = NEVER_CLIPPED

    def __init__(self, *, gamma: float, entropy_coef: float, aggregation: Aggregation) -> None:
        """See conf/objective/luffy_shape.yaml. Raises ValueError for a shape without slope."""
        if gamma <= 0.0:
            raise ValueError(f"objective.gamma is {gamma}; expected > 0 (.1 is the paper's)")
        check_aggregation(aggregation)
        self._log_gamma, self._entropy_coef, self._aggregation = math.log(gamma), entropy_coef, aggregation

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The token loss of these rows; arguments as in ``rrl.objective.binding.token_weight``."""
        weight = token_weight(estimated, self._aggregation, share, num_tokens, num_rows)
        return bound(estimated, weight, self._entropy_coef, self._surrogate)

    def _surrogate(
        self, logprob: Tensor, old: Tensor, advantage: Tensor, index: Tensor  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        shaped = torch.sigmoid(logprob - old - self._log_gamma)  # r / (r + gamma) that cannot overflow
        return shaped * advantage, shaped * (1.0 - shaped) * advantage
