"""What goes wrong around a run: a reward that turns one row's score into NaN, a signal with the last step."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rrl.protocols import Reward
from rrl.records import Progress
from rrl.types import Metrics, Rollouts, Scored


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


class TermAtTheEnd:
    """A tracker that sends this process SIGTERM with the last step: a scheduler that stops the job right then."""

    def log(self, progress: Progress, metrics: Metrics) -> None:
        if progress.finished:
            os.kill(os.getpid(), signal.SIGTERM)

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None: ...
    def artifact(self, path: Path) -> None: ...
    def close(self, status: str) -> None: ...
