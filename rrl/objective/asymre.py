"""AsymRE: REINFORCE with a baseline a little below the mean, for rows that another policy sampled."""

from __future__ import annotations

import torch
from torch import Tensor

from rrl.objective.binding import NEVER_CLIPPED, Aggregation, bound, check_aggregation, token_weight
from rrl.protocols import TokenLoss
from rrl.types import Estimated


class AsymRE:
    """loss = - sum_u w_u (A_u - delta) log pi(y_u) - c_H sum_u w_u H_u, A_u = R - V.

    A - delta = R - (V + delta): delta < 0 lowers the baseline, so that good rows teach more than bad ones. Without
    any ratio that is stable on stale rows only below V: Arnal et al., 2506.20520.

    A token of advantage exactly 0 stays at 0 (ours): a group of equal rewards tells nothing, and -delta would imitate
    it, failures included.
    """

    whole_rows = False
    clip_range = NEVER_CLIPPED

    def __init__(self, *, delta: float, entropy_coef: float, aggregation: Aggregation) -> None:
        """See conf/objective/asymre.yaml. Raises ValueError for a shift to above the baseline."""
        if delta > 0.0:
            raise ValueError(f"objective.delta is {delta}; expected <= 0 (above 0 bad rows dominate and it diverges)")
        check_aggregation(aggregation)
        self._delta, self._entropy_coef, self._aggregation = delta, entropy_coef, aggregation

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The token loss of these rows; arguments as in ``rrl.objective.binding.token_weight``."""
        weight = token_weight(estimated, self._aggregation, share, num_tokens, num_rows)
        return bound(estimated, weight, self._entropy_coef, self._surrogate)

    def _surrogate(
        self, logprob: Tensor, old: Tensor, advantage: Tensor, index: Tensor  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        slope = torch.where(advantage == 0.0, advantage, advantage - self._delta)
        return slope * logprob, slope
