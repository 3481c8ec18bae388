"""The first boundary that promises more than the bare prompt did."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import open_boundaries, own_prefix, values_at


class Gain:
    """At most one prefix of an unsolved attempt: the earliest boundary t with V(s_t) - V(x) >= min_gain.

    V(x), the value of the bare prompt, is the first value of a fresh attempt and the store's column for a replayed
    one (0 until the problem is first re-scored); where that start was evicted meanwhile it is unknown, and nothing
    is proposed. A relative reading of RRL (Dou et al., arXiv 2504.14363).

    Args:
        min_gain: P(solved) above the bare prompt's, [-1, 1].
    """

    def __init__(self, *, min_gain: float) -> None:
        if not -1.0 <= min_gain <= 1.0:
            raise ValueError(f"replay.admission.min_gain is {min_gain}; expected a number in [-1, 1]")
        self._min_gain = min_gain

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int
    ) -> list[Prefix]:
        cuts = open_boundaries(attempt, boundaries)
        if not cuts or attempt.solved or (attempt.start.replayed and root is None):
            return []
        bar = self._min_gain + (float(attempt.value[0]) if root is None else root.root_value)
        passed = [t for t, value in zip(cuts, values_at(attempt, cuts), strict=True) if value >= bar]
        return own_prefix(attempt, passed[0], step) if passed else []
