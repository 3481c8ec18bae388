"""A reward that turns one row's score into NaN, once: what a broken reward model does to a run."""

from __future__ import annotations

from dataclasses import replace

import torch

from rrl.protocols import Reward
from rrl.types import Rollouts, Scored


class PoisonedReward:
    """``base``, but the last token of ``row`` is worth NaN in call number ``call`` (from 0)."""

    def __init__(self, *, base: Reward, call: int, row: int) -> None:
        self._base, self._left, self._row = base, call, row

    @property
    def dropped(self) -> int:
        return self._base.dropped

    def score(self, rollouts: Rollouts) -> Scored:
        scored = self._base.score(rollouts)
        self._left -= 1
        if self._left != -1:
            return scored
        reward = scored.reward.clone()
        reward[int(rollouts.sequences.offsets[self._row + 1]) - 1] = torch.nan
        return replace(scored, reward=reward)
