"""Around the tokens that changed the value."""

from __future__ import annotations

import numpy as np

from rrl.protocols import Task
from rrl.records import Attempt
from rrl.replay.cut.text import whole_character
from rrl.replay.turns import past_given


class ValueJumpCut:
    """For each sampled token with |V(s_{t+1}) - V(s_t)| > delta: before it where V fell, behind it where V rose.

    So a prefix holds the token that helped and not the one that broke it (ours). No boundary lies inside a replayed
    prefix, whose values are not known.

    Example: fresh, values (.2, .6, .6, .1), delta .1 -> [1, 2]: behind token 0, before token 2.

    Args:
        task: decodes, so that no character is cut in two.
        delta: change that counts, P(solved), [0, 1].
    """

    def __init__(self, *, task: Task, delta: float) -> None:
        if not 0.0 <= delta <= 1.0:
            raise ValueError(f"replay.cut.delta is {delta}; expected a number in [0, 1]")
        self._task, self._delta = task, delta

    def boundaries(self, attempt: Attempt) -> list[int]:
        change = np.diff(attempt.value.astype(np.float64))  # [i] what sampled token i did
        first, response = len(attempt.start.prefix), attempt.response
        behind = (first + 1 + np.flatnonzero(change > self._delta)).tolist()
        before = (first + np.flatnonzero(change < -self._delta)).tolist()
        cuts = past_given((t for t in behind + before if t > first), response)
        return [t for t in cuts if whole_character(self._task.decode, response, t)]
