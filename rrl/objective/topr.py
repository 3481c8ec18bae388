"""TOPR: good rows count fully, bad rows only as far as the policy still samples them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rrl.objective.binding import (
    NEVER_CLIPPED,
    Aggregation,
    bound,
    check_aggregation,
    row_sum,
    rows_in,
    token_weight,
)
from rrl.protocols import TokenLoss
from rrl.types import Estimated


class TOPR:
    """loss = - sum_u w_u sg(g_u) A_u log pi(y_u) - c_H sum_u w_u H_u.

    g_u = 1 where A_u >= 0, else clip(s, 0, negative_max), s = pi(row) / pi_behaviour(row), the product of the row's
    ratios, not their mean. Le Roux et al., 2503.14286: a+ = b+ = 1, a- = 0, b- = negative_max. Pushing a row down
    weighs less and less once it has become unlikely, so log pi of a bad row cannot run away to minus infinity
    however stale the row is.

    Needs whole rows in one call of the token loss (``whole_rows``): a row's part is refused.
    """

    whole_rows = True
    clip_range = NEVER_CLIPPED  # of one token's ratio; here rows are truncated

    def __init__(self, *, negative_max: float, entropy_coef: float, aggregation: Aggregation) -> None:
        """See conf/objective/topr.yaml. Raises ValueError for a weight that is not positive."""
        if negative_max <= 0.0:
            raise ValueError(f"objective.negative_max is {negative_max}; expected > 0 (1 is the paper's)")
        check_aggregation(aggregation)
        self._log_max = math.log(negative_max)
        self._entropy_coef, self._aggregation = entropy_coef, aggregation

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The token loss of these rows; arguments as in ``rrl.objective.binding.token_weight``.

        The token loss raises ValueError where a row is not there as a whole.
        """
        sequences = estimated.sequences

        def surrogate(logprob: Tensor, old: Tensor, advantage: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            row, lengths = rows_in(sequences, index, "topr")
            # Clipped before the exponential: a long row's ratio overflows.
            ratio = row_sum(logprob - old, row, len(lengths)).clamp(max=self._log_max).exp()[row]
            slope = (torch.where(advantage < 0, ratio, 1.0) * advantage).detach()
            return slope * logprob, slope

        weight = token_weight(estimated, self._aggregation, share, num_tokens, num_rows)
        return bound(estimated, weight, self._entropy_coef, surrogate)
