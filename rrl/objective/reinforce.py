"""REINFORCE: the plain policy gradient, no ratio and no clip."""

from __future__ import annotations

from torch import Tensor

from rrl.objective.binding import NEVER_CLIPPED, Aggregation, bound, check_aggregation, token_weight
from rrl.protocols import TokenLoss
from rrl.types import Estimated


class Reinforce:
    """loss = - sum_u w_u A_u log pi(y_u) - c_H sum_u w_u H_u.

    Williams (1992); for language models, with a leave-one-out baseline, Ahmadian et al., 2402.14740.
    There is no correction for a policy that moved on: use each row once (``learner.epochs=1``).
    """

    whole_rows = False
    clip_range = NEVER_CLIPPED

    def __init__(self, *, entropy_coef: float, aggregation: Aggregation) -> None:
        """See conf/objective/reinforce.yaml. Raises ValueError for an unknown aggregation."""
        check_aggregation(aggregation)
        self._entropy_coef, self._aggregation = entropy_coef, aggregation

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The token loss of these rows; arguments as in ``rrl.objective.binding.token_weight``."""
        weight = token_weight(estimated, self._aggregation, share, num_tokens, num_rows)
        return bound(estimated, weight, self._entropy_coef, _surrogate)


def _surrogate(logprob: Tensor, old: Tensor, advantage: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return advantage * logprob, advantage
