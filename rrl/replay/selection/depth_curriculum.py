"""A reverse curriculum: first states near the end of a response, later ones near the prompt."""

from __future__ import annotations

import numpy as np

from rrl.records import Candidates, Progress
from rrl.replay.selection.proportional import race_scores


class DepthCurriculum:
    """Weight exp(-((t/T - d) / width)^2 / 2), d = depth_first + (depth_last - depth_first) done_frac.

    Reverse curricula on given solutions: R3 (Xi et al., arXiv 2402.05808), StepCoder (Dou et al., arXiv
    2402.01391); here on the run's own states, moving with the token budget.

    Args:
        depth_first, depth_last: centre d of t/T at the first and the last token of the run, [0, 1].
        width: standard deviation around the centre, share of a response, > 0.
    """

    def __init__(self, *, depth_first: float, depth_last: float, width: float) -> None:
        if not 0.0 <= depth_first <= 1.0 or not 0.0 <= depth_last <= 1.0 or width <= 0.0:
            raise ValueError(f"replay.selection.depth_first is {depth_first}, depth_last {depth_last} and width "
                             f"{width}; expected depths in [0, 1] and width > 0")
        self._first, self._last, self._width = depth_first, depth_last, width

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray:
        centre = self._first + (self._last - self._first) * progress.done_frac
        off = ((candidates.depth_frac - centre) / self._width) ** 2
        # Against the nearest state: far from all of them every weight would underflow to 0.
        return race_scores(np.exp(-0.5 * (off - off.min())), generator)
