"""Beginnings that the reward thinks little of as they stand."""

from __future__ import annotations

from typing import Literal

import numpy as np

from rrl.protocols import JudgesBeginnings, Task, Verdict
from rrl.records import Attempt, Prefix
from rrl.types import Start


class LowReward:
    """The action where the task's score of prompt and prefix, without what came after, is below ``least``.

    Beside ``harm``: a state of a dialogue is kept where its reward is at least r_min and its harm at most h_max, both
    of the prefix as it stands, since what became of it may have been a lucky continuation.

    Args:
        task: one that judges beginnings of responses, such as dialogue.
        least: r_min, inside the task's score range.
        action: "drop", or "quarantine" for a person to look at.
    """

    def __init__(self, *, task: Task, least: float, action: Literal["drop", "quarantine"]) -> None:
        if not isinstance(task, JudgesBeginnings):
            raise ValueError(f"replay.filter.low_reward asks the task for the reward of a prefix, and task "
                             f"{task.name!r} scores whole responses only; expected task=dialogue or one like it")
        low, high = task.score_range
        if not low <= least <= high:
            raise ValueError(f"replay.filter.low_reward.least is {least}; expected a score in {task.score_range}")
        self._standing, self._least, self._action = task.standing, least, action

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        score = float(self._standing([Start(problem=prefix.problem, prefix=prefix.tokens)])[0])
        if not np.isfinite(score):
            raise ValueError(f"the reward gave {score} for a prefix of {prefix.problem.id!r}; expected a finite number")
        if score < self._least:
            return Verdict(self._action, f"reward {score:.3g}, below {self._least:.3g}")
        return Verdict("keep", "")
