"""A prefix whose continuation solved the problem is taught to the bare prompt, as far as that still fails."""

from __future__ import annotations

from rrl.records import Attempt


class Positive:
    """eta A+ with A+ = 1 - e_p for solved replayed rows, 0 otherwise; divided by replayed rows x d in the loss.

    Without it only the continuation learns, and nothing raises the probability of the prefix itself. Positive
    only and off-policy, hence biased on purpose; the bias ends when the problem retires.

    Args:
        eta: weight against the policy loss, >= 0.
        token_divisor: d, about half the length of a response where prefixes are long, > 0.
        origins: origins of prefixes that are credited; self-generated ones unless told otherwise.
    """

    def __init__(self, *, eta: float, token_divisor: float, origins: list[str]) -> None:
        if eta < 0.0 or token_divisor <= 0.0:
            raise ValueError(f"replay.credit.eta is {eta} and token_divisor {token_divisor}; "
                             "expected eta >= 0 and token_divisor > 0")
        unknown = sorted(set(origins) - {"rollout", "replay", "canonical"})
        if unknown:
            raise ValueError(f"replay.credit.origins holds {unknown}; expected a choice of rollout, replay, canonical")
        self._eta, self._divisor, self._origins = eta, token_divisor, frozenset(origins)

    def weight(self, attempt: Attempt, root_success: float, origin: str) -> float:
        if not attempt.solved or not attempt.start.replayed or origin not in self._origins:
            return 0.0
        return self._eta * (1.0 - root_success)

    def token_divisor(self) -> float:
        return self._divisor
