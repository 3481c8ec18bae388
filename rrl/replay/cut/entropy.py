"""Before the tokens where the policy hesitated."""

from __future__ import annotations

import math

import numpy as np

from rrl.protocols import Task
from rrl.records import Attempt
from rrl.replay.cut.text import whole_character

_SLACK = 1e-9  # .2 x 15 is 3.0000000000000004 in binary; a share is meant in decimals


class EntropyCut:
    """Before the ``top_frac`` of the sampled tokens with the highest entropy, rounded up, the earliest of equals.

    "Forking tokens": Wang et al., 2025, arXiv 2506.01939. A token of entropy 0 is no fork. The entropies of a replayed
    prefix are not known, so no boundary lies inside it.

    Args:
        task: decodes, so that no character is cut in two.
        top_frac: share of the sampled tokens behind the first one, (0, 1].
    """

    def __init__(self, *, task: Task, top_frac: float) -> None:
        if not 0.0 < top_frac <= 1.0:
            raise ValueError(f"replay.cut.top_frac is {top_frac}; expected a number in (0, 1]")
        self._task, self._top_frac = task, top_frac

    def boundaries(self, attempt: Attempt) -> list[int]:
        own = np.flatnonzero(attempt.own)[1:]  # a cut before the first sampled token is the start again
        entropy = attempt.entropy[own]
        num = math.ceil(self._top_frac * len(entropy) - _SLACK)
        top = np.argsort(-entropy, kind="stable")[:num]
        first, response = len(attempt.start.prefix), attempt.response
        cuts = sorted(first + i for i in own[top[entropy[top] > 0.0]].tolist())
        return [t for t in cuts if whole_character(self._task.decode, response, t)]
