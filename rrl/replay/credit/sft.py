"""Supervised learning of converted prefixes: the same weight whatever the problem's own success rate is."""

from __future__ import annotations

from rrl.records import Attempt


class Sft:
    """eta for solved replayed rows from the run's own prefixes, eta_canonical for those from canonical ones.

    Plain negative log-likelihood, as in rejection-sampling fine-tuning (Yuan et al., arXiv 2308.01825): no
    advantage, so it pulls as hard on a problem that is nearly learned. Retirement still ends it.

    Args:
        eta: weight of self-generated prefixes against the policy loss, >= 0.
        eta_canonical: weight of canonical prefixes, >= 0; 0 leaves them context only.
        token_divisor: d, about half the length of a response where prefixes are long, > 0.
    """

    def __init__(self, *, eta: float, eta_canonical: float, token_divisor: float) -> None:
        if min(eta, eta_canonical) < 0.0 or token_divisor <= 0.0:
            raise ValueError(f"replay.credit.eta is {eta}, eta_canonical {eta_canonical} and token_divisor "
                             f"{token_divisor}; expected weights >= 0 and token_divisor > 0")
        self._eta, self._eta_canonical, self._divisor = eta, eta_canonical, token_divisor

    def weight(self, attempt: Attempt, root_success: float, origin: str) -> float:  # noqa: ARG002
        if not attempt.solved or not attempt.start.replayed:
            return 0.0
        return self._eta_canonical if origin == "canonical" else self._eta

    def token_divisor(self) -> float:
        return self._divisor
