"""Where an attempt was on track and then broke, even if all its values are low."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import open_boundaries, own_prefix


class PeakDrop:
    """At most one prefix of an unsolved attempt: the boundary with the largest V(s_t) - min_{u > t} V(s_u).

    The earliest of equals (ours, unproven). u runs over the sampled tokens behind t; the end itself, whose value is
    0 in every failure, is not counted: it would turn this into ``argmax_value``.

    Args:
        min_drop: smallest fall that counts, P(solved), (0, 1].
    """

    def __init__(self, *, min_drop: float) -> None:
        if not 0.0 < min_drop <= 1.0:
            raise ValueError(f"replay.admission.min_drop is {min_drop}; expected a number in (0, 1]")
        self._min_drop = min_drop

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        first, last = len(attempt.start.prefix), len(attempt.response) - 1
        cuts = [t for t in open_boundaries(attempt, boundaries) if t < last]  # behind the last one nothing can fall
        if not cuts or attempt.solved:
            return []
        lowest = np.minimum.accumulate(attempt.value[::-1])[::-1]  # [i] = min over u >= i
        drops = [float(attempt.value[t - first] - lowest[t - first + 1]) for t in cuts]
        best = int(np.argmax(drops))
        return own_prefix(attempt, cuts[best], step) if drops[best] >= self._min_drop else []
