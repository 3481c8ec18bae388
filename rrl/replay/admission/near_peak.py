"""Earliest boundary near the peak of the value: the promising part before the mistake."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import earliest_near_peak, open_boundaries, own_prefix


class NearPeak:
    """One prefix an attempt: the earliest boundary t with V(s_t) >= max_t V(s_t) - delta.

    Not the argmax: an early critic cannot see the mistake yet, so the argmax stores prefixes that already
    contain it.

    Args:
        delta: how far below the peak still counts as the peak, P(solved), [0, 1].
        solved_too: also cut solved attempts.
    """

    def __init__(self, *, delta: float, solved_too: bool) -> None:
        if not 0.0 <= delta <= 1.0:
            raise ValueError(f"replay.admission.delta is {delta}; expected a number in [0, 1]")
        self._delta, self._solved_too = delta, solved_too

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        cuts = open_boundaries(attempt, boundaries)
        if not cuts or (attempt.solved and not self._solved_too):
            return []
        return own_prefix(attempt, earliest_near_peak(attempt, cuts, self._delta), step)
