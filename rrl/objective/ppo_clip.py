"""PPO's clipped surrogate, with asymmetric bounds, dual clip and an entropy bonus.

Pure functions of log-prob, entropy and advantage: no model, no mask, no autograd.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rrl.objective.binding import Aggregation, bound, check_aggregation, token_weight
from rrl.protocols import TokenLoss
from rrl.types import Estimated


class PPOClip:
    """loss = - sum_u w_u min(r_u A_u, clip(r_u, 1 - clip_low, 1 + clip_high) A_u) - c_H sum_u w_u H_u.

    r_u = pi(y_u) / pi_behaviour(y_u). Schulman et al., 1707.06347, eq. 7 (entropy: eq. 9); a wider upper bound
    is DAPO's clip-higher (Yu et al., 2503.14476). Where A_u < 0 dual clip bounds the surrogate by
    dual_clip A_u from below (Ye et al., 1912.09729). w_u is share / num_tokens for the token
    mean, share / (num_rows T_row) for the sequence mean and share / (num_rows longest response) for constant.
    """

    whole_rows = False

    def __init__(
        self,
        *,
        clip_low: float,
        clip_high: float,
        dual_clip: float,
        entropy_coef: float,
        aggregation: Aggregation,
    ) -> None:
        """See conf/objective/ppo_clip.yaml. Raises ValueError for a bound that cannot clip."""
        if not 0.0 < clip_low < 1.0:
            raise ValueError(f"objective.clip_low is {clip_low}; expected a number in (0, 1)")
        if clip_high <= 0.0:
            raise ValueError(f"objective.clip_high is {clip_high}; expected > 0")
        if dual_clip != 0.0 and dual_clip <= 1.0 + clip_high:
            raise ValueError(f"objective.dual_clip is {dual_clip}; expected 0 (none) or > 1 + clip_high")
        check_aggregation(aggregation)
        self.clip_range = (1.0 - clip_low, 1.0 + clip_high)
        self._dual_clip = dual_clip
        self._entropy_coef = entropy_coef
        self._aggregation = aggregation

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The token loss of these rows.

        Args:
          estimated: this rank's rows of one stream in one mini-batch.
          share: of that stream in the loss, [0, 1].
          num_tokens, num_rows: of that stream in the mini-batch, over all ranks.
        Returns:
          (logprob, entropy, index into these rows' axis A) -> (loss, d_logprob, d_entropy).
        """
        weight = token_weight(estimated, self._aggregation, share, num_tokens, num_rows)
        return bound(
            estimated, weight, self._entropy_coef,
            lambda logprob, old, advantage, _: self._surrogate(torch.exp(logprob - old), advantage),
        )  # fmt: skip

    def _surrogate(self, ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        """(surrogate, d surrogate/d logprob): r A where the bound does not bite, else constant."""
        free = ratio * advantage
        clipped = ratio.clamp(*self.clip_range) * advantage
        surrogate = torch.minimum(free, clipped)
        # torch.where, not a product with a mask: an overflowed ratio times 0 would be NaN. Asked this
        # way round, a NaN advantage stays NaN and is found by the learner.
        slope = torch.where(free > clipped, torch.zeros_like(free), free)
        if self._dual_clip:
            bound = torch.where(advantage < 0, self._dual_clip * advantage, -torch.inf)
            slope = torch.where(surrogate < bound, torch.zeros_like(slope), slope)
            surrogate = torch.maximum(surrogate, bound)
        return surrogate, slope
