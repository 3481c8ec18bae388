"""M2PO: no clip range; the tokens whose log-ratio is largest are left out until the rest is trusted."""

from __future__ import annotations

import torch
from torch import Tensor

from rrl.objective.binding import NEVER_CLIPPED, Aggregation, bound, check_aggregation, rows_in, token_weight
from rrl.protocols import TokenLoss
from rrl.types import Estimated


class M2PO:
    """loss = - sum_u w_u m_u r_u A_u - c_H sum_u w_u H_u, r_u = pi(y_u) / pi_behaviour(y_u).

    m is 1 for the largest set of tokens of a row whose mean (log r)^2 is at most ``tau``, tokens of small |log r|
    first, and 0 for the others. Zheng et al., 2510.01161, bound the mean over a batch; a row at a time is stricter
    (rows within tau make a batch within tau) and does not depend on micro-batches or ranks.

    Needs whole rows in one call of the token loss (``whole_rows``): a row's part is refused.
    """

    whole_rows = True
    clip_range = NEVER_CLIPPED  # what is left out depends on the row, not on a range

    def __init__(self, *, tau: float, entropy_coef: float, aggregation: Aggregation) -> None:
        """See conf/objective/m2po.yaml. Raises ValueError for a bound that nothing can meet."""
        if tau <= 0.0:
            raise ValueError(f"objective.tau is {tau}; expected > 0 nats^2 (.04 = |log r| of .2)")
        check_aggregation(aggregation)
        self._tau, self._entropy_coef, self._aggregation = tau, entropy_coef, aggregation

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The token loss of these rows; arguments as in ``rrl.objective.binding.token_weight``.

        The token loss raises ValueError where a row is not there as a whole.
        """
        sequences = estimated.sequences

        def surrogate(logprob: Tensor, old: Tensor, advantage: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            row, lengths = rows_in(sequences, index, "m2po")
            log_ratio = logprob - old
            dropped = ~trusted(log_ratio.detach().square(), row, lengths, self._tau) & ~log_ratio.isnan()
            # torch.where, not a product with the mask: an overflowed ratio times 0 would be NaN.
            log_ratio = torch.where(dropped, torch.zeros_like(log_ratio), log_ratio)
            gain = torch.where(dropped, torch.zeros_like(advantage), log_ratio.exp() * advantage)
            return gain, gain

        weight = token_weight(estimated, self._aggregation, share, num_tokens, num_rows)
        return bound(estimated, weight, self._entropy_coef, surrogate)


def trusted(square: Tensor, row: Tensor, lengths: Tensor, tau: float) -> Tensor:
    """True for the tokens of each row that are kept.

    Example: a row with squares (0, .09, .01) and tau .04: the means of the smallest 1, 2, 3 are 0, .005, .033: all
    are kept; at tau .03 the .09 goes.

    Args:
      square: (log r)^2 of each token [C].
      row: its row, from 0.
      lengths: tokens of each row.
      tau: largest mean, nats^2.
    """
    if len(square) == 0:
        return torch.zeros(0, dtype=torch.bool)
    grouped = torch.argsort(row, stable=True)
    column = torch.empty_like(row)
    column[grouped] = torch.arange(len(row)) - (lengths.cumsum(0) - lengths)[row[grouped]]
    grid = square.new_full((len(lengths), int(lengths.max())), torch.inf)
    grid[row, column] = square
    ascending, order = grid.sort(dim=1, stable=True)
    # The mean of the k smallest never falls in k, so what is within tau is a beginning of the sorted row.
    kept = ascending.cumsum(1) / torch.arange(1, grid.shape[1] + 1) <= tau
    return torch.zeros_like(kept).scatter(1, order, kept)[row, column]
