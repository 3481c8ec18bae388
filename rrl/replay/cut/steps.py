"""Between reasoning steps, as the task sees them: a task's default cut."""

from __future__ import annotations

from rrl.protocols import Task
from rrl.records import Attempt
from rrl.replay.turns import past_given


class StepsCut:
    """``task.steps`` of the whole response, those strictly inside it.

    Args:
        task: knows what a step is.
    """

    def __init__(self, *, task: Task) -> None:
        self._task = task

    def boundaries(self, attempt: Attempt) -> list[int]:
        response = attempt.response
        inside = [t for t in self._task.steps(attempt.start.problem, response) if 1 <= t < len(response)]
        return past_given(inside, response)
