"""Another reward, less a price for leaving the reference policy."""

from __future__ import annotations

from dataclasses import replace

from rrl.protocols import Policy, Reward
from rrl.types import Rollouts, Scored


class KLShaped:
    """reward_u = base_u - beta (log pi_behaviour(y_u) - log pi_ref(y_u)), on sampled tokens only.

    Ziegler et al., 1909.08593; Ouyang et al., 2203.02155. A replayed prefix was not
    chosen here and pays nothing. ``score`` and ``solved`` stay the base's.
    """

    def __init__(self, *, base: Reward, reference: Policy, beta: float) -> None:
        """See conf/reward/kl_shaped.yaml. Raises ValueError for a negative price."""
        if beta < 0.0:
            raise ValueError(f"reward.beta is {beta}; expected >= 0")
        self._base = base
        self._reference = reference
        self._beta = beta

    @property
    def dropped(self) -> int:
        """Rows that the base left out in its last call."""
        return self._base.dropped

    def score(self, rollouts: Rollouts) -> Scored:
        """The base's verdicts with the shaped reward."""
        scored = self._base.score(rollouts)
        if len(scored.reward) == 0:
            return scored
        reference_logprob, _ = self._reference.logprob(scored.rollouts.sequences)
        gap = scored.rollouts.behavior_logprob - reference_logprob.to(scored.reward)
        return replace(scored, reward=scored.reward - self._beta * gap)
