"""The first allowed boundary, no critic asked: the control that says how much of admission is state finding."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import open_boundaries, own_prefix


class FirstBoundary:
    """One prefix an attempt: the first boundary behind its start.

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
        return own_prefix(attempt, cuts[0], step)
