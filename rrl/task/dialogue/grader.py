"""The verdict on a response: a reward model's number, on the scale of the policy that training begins from."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from rrl.protocols import Outcome
from rrl.scorer.conversation import Exchange, Scorer
from rrl.task.data.row import Row
from rrl.task.dialogue.bar import Bar

log = logging.getLogger(__name__)

_KEPT = 1 << 16  # scores remembered: a response is scored ahead, then asked for; a prefix is asked for again


class PreferenceGrader:
    """score = (r - mean) / std of the reference's own r, clipped; solved = r above a quantile of these.

    Rewards with mean 0 and deviation 1 on the policy that training begins from (Stiennon et al., 2009.01325, set the
    mean so) make a KL price and a critic's range mean the same for every reward model.

    Args:
      reward: the scorer.
      clip: standard deviations at which the score is cut off, > 0.
    """

    def __init__(self, *, reward: Scorer, clip: float) -> None:
        self.score_range = (-clip, clip)
        self.fingerprint = f"preference-1 {clip}"
        self.bar: Bar | None = None
        self._reward, self._clip = reward, clip
        self._raw: dict[Exchange, float] = {}

    def flaw(self, row: Row) -> str:  # noqa: ARG002 - any response to any prompt can be scored
        return ""

    def stated(self, response: str) -> int | None:  # noqa: ARG002 - a response in a dialogue announces no answer
        return None

    def say(self, answer: str) -> str:
        return answer

    def grade(self, row: Row, response: str) -> Outcome:
        """Raises ValueError before the bar is set."""
        bar = self._set_bar()
        raw = float(self.raw([Exchange(row.prompt, response)])[0])
        return Outcome(bar.standardised(raw, self._clip), raw > bar.solved_above)

    def standing(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """[S] scores of responses, or of beginnings of some. Raises ValueError before the bar is set."""
        bar = self._set_bar()
        return np.array([bar.standardised(x, self._clip) for x in self.raw(exchanges).tolist()])

    def raw(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """[S] numbers of the reward model, new ones in one call. Not finite: said once here, refused by the reward."""
        if len(self._raw) >= _KEPT:
            self._raw.clear()
        new = [e for e in dict.fromkeys(exchanges) if e not in self._raw]
        if new:
            self._raw |= zip(new, self._reward(new).tolist(), strict=True)
        return np.array([self._raw[e] for e in exchanges])

    def _set_bar(self) -> Bar:
        if self.bar is None:
            raise ValueError("the reward model's scale is not known; expected a policy to measure it on (the run's "
                             "reference) or a checkpoint that holds it")
        return self.bar
