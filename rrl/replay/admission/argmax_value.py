"""The boundary with the highest value: the literal reading of "the value model picks promising states"."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import earliest_near_peak, open_boundaries, own_prefix


class ArgmaxValue:
    """One prefix an attempt: argmax_t V(s_t), the earliest of equals.

    Args:
        solved_too: also cut solved attempts.
    """

    def __init__(self, *, solved_too: bool) -> None:
        self._solved_too = solved_too

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        cuts = open_boundaries(attempt, boundaries)
        if not cuts or (attempt.solved and not self._solved_too):
            return []
        return own_prefix(attempt, earliest_near_peak(attempt, cuts, 0.0), step)
