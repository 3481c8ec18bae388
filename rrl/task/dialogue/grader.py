"""The verdict on a response: a reward model's number, on the scale of the policy that training begins from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rrl.protocols import Outcome
from rrl.scorer.conversation import Exchange, Scorer
from rrl.task.data.row import Row
from rrl.task.dialogue.bar import Bar


class PreferenceGrader:
    """score = (r - mean) / std of the reference's own r, clipped; solved = r above a quantile of these.

    Rewards with mean 0 and deviation 1 on the policy that training begins from (Stiennon et al., 2009.01325, set the
    mean so) make a KL price and a critic's range mean the same for every reward model.

    A number depends on what else is scored with it, by rounding; so what was asked before must not decide that, or a
    resumed run would part from the unbroken one. Every question is scored whole, and its answers are given out once.

    Args:
      reward: the scorer.
      clip: standard deviations at which the score is cut off, > 0.
    """

    def __init__(self, *, reward: Scorer, clip: float) -> None:
        self.score_range = (-clip, clip)
        self.fingerprint = f"preference-1 {clip}"
        self.bar: Bar | None = None
        self._reward, self._clip = reward, clip
        self._ahead: dict[Exchange, float] = {}
        self._left: Counter[Exchange] = Counter()  # how often each of them is still to be asked for

    def flaw(self, row: Row) -> str:  # noqa: ARG002 - any response to any prompt can be scored
        return ""

    def stated(self, response: str) -> int | None:  # noqa: ARG002 - a response in a dialogue announces no answer
        return None

    def say(self, answer: str) -> str:
        return answer

    def grade(self, row: Row, response: str) -> Outcome:
        """Raises ValueError before the bar is set."""
        bar, exchange = self._set_bar(), Exchange(row.prompt, response)
        if self._left[exchange] > 0:
            self._left[exchange] -= 1
            raw = self._ahead[exchange]
        else:
            raw = float(self.raw([exchange])[0])
        return Outcome(bar.standardised(raw, self._clip), raw > bar.solved_above)

    def ahead(self, exchanges: Sequence[Exchange]) -> None:
        """Scores responses in one call, for the next ``grade`` of each; those of the last call are forgotten."""
        self._ahead, self._left = dict(zip(exchanges, self.raw(exchanges).tolist(), strict=True)), Counter(exchanges)

    def standing(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """[S] scores of responses, or of beginnings of some. Raises ValueError before the bar is set."""
        bar = self._set_bar()
        return np.array([bar.standardised(x, self._clip) for x in self.raw(exchanges).tolist()])

    def raw(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """[S] numbers of the reward model, equal ones once, in one call."""
        different = list(dict.fromkeys(exchanges))
        said = dict(zip(different, self._reward(different).tolist(), strict=True)) if different else {}
        return np.array([said[e] for e in exchanges])

    def _set_bar(self) -> Bar:
        if self.bar is None:
            raise ValueError("the reward model's scale is not known; expected a policy to measure it on (the run's "
                             "reference) or a checkpoint that holds it")
        return self.bar
