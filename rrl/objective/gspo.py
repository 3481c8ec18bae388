"""GSPO: PPO's clip on one ratio a row, the geometric mean of its tokens' ratios."""

from __future__ import annotations

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


class GSPO:
    """loss = - sum_u w_u min(s A_u, clip(s, 1 - clip_low, 1 + clip_high) A_u) - c_H sum_u w_u H_u.

    s = (pi(row) / pi_behaviour(row))^(1/T) = exp(mean over the row's T tokens of log r). Zheng et al., 2507.18071,
    eq. 5-7, with ``aggregation: sequence_mean`` and one advantage a row. s depends on every token of its row, so
    every token of an unclipped row gets the same gradient: w s times the row's mean advantage (eq. 10).

    Needs whole rows in one call of the token loss (``whole_rows``): a row's part is refused.
    """

    whole_rows = True
    clip_range = NEVER_CLIPPED  # of one token's ratio, which is what metrics count; here rows are clipped

    def __init__(self, *, clip_low: float, clip_high: float, entropy_coef: float, aggregation: Aggregation) -> None:
        """See conf/objective/gspo.yaml. Raises ValueError for a bound that cannot clip."""
        if not 0.0 < clip_low < 1.0:
            raise ValueError(f"objective.clip_low is {clip_low}; expected a number in (0, 1)")
        if clip_high <= 0.0:
            raise ValueError(f"objective.clip_high is {clip_high}; expected > 0")
        check_aggregation(aggregation)
        self._bounds = (1.0 - clip_low, 1.0 + clip_high)
        self._entropy_coef, self._aggregation = entropy_coef, aggregation

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The token loss of these rows; arguments as in ``rrl.objective.binding.token_weight``.

        The token loss raises ValueError where a row is not there as a whole.
        """
        sequences = estimated.sequences

        def surrogate(logprob: Tensor, old: Tensor, advantage: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            row, lengths = rows_in(sequences, index, "gspo")
            mean = row_sum(logprob - old, row, len(lengths)) / lengths
            ratio = torch.exp(mean)[row]
            free, clipped = ratio * advantage, ratio.clamp(*self._bounds) * advantage
            # torch.where, not a product with a mask: an overflowed ratio times 0 would be NaN.
            slope = torch.where(free > clipped, torch.zeros_like(free), free)
            return torch.minimum(free, clipped), (row_sum(slope, row, len(lengths)) / lengths)[row]

        weight = token_weight(estimated, self._aggregation, share, num_tokens, num_rows)
        return bound(estimated, weight, self._entropy_coef, surrogate)
