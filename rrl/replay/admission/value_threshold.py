"""The first boundary that is promising enough; nothing of an attempt that never was."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import open_boundaries, own_prefix, values_at


class ValueThreshold:
    """At most one prefix of an unsolved attempt: the earliest boundary t with V(s_t) >= tau.

    "States above a threshold of the value model": a reading of RRL (Dou et al., arXiv 2504.14363).

    Args:
        tau: P(solved) that a boundary must reach, [0, 1].
    """

    def __init__(self, *, tau: float) -> None:
        if not 0.0 <= tau <= 1.0:
            raise ValueError(f"replay.admission.tau is {tau}; expected a number in [0, 1]")
        self._tau = tau

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        if attempt.solved:
            return []
        cuts = open_boundaries(attempt, boundaries)
        passed = [t for t, value in zip(cuts, values_at(attempt, cuts), strict=True) if value >= self._tau]
        return own_prefix(attempt, passed[0], step) if passed else []
