"""The task itself as a scorer of harm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rrl.protocols import JudgesBeginnings, Task
from rrl.types import Start


class TaskHarm:
    """Numbers of the task's own harm scorer for what a state's context says.

    Args:
        task: one that judges beginnings of responses, such as dialogue.
    """

    def __init__(self, *, task: Task) -> None:
        if not isinstance(task, JudgesBeginnings):
            raise ValueError(f"replay.filter.harm_task asks the task for harm, and task {task.name!r} has no scorer of "
                             "it; expected task=dialogue or one like it, or replay/filter=harm")
        self._decode, self._harm_of = task.decode, task.harm_of

    def __call__(self, states: Sequence[Start]) -> np.ndarray:
        """[S] numbers, higher = more harmful."""
        return self._harm_of([self._decode(state.context) for state in states])
