"""Between the steps of a written solution, as a regular expression finds them."""

from __future__ import annotations

import re

from rrl.protocols import Task
from rrl.records import Attempt
from rrl.replay.cut.text import cut_text


class StepCut:
    """Inside each match of ``between``, up to the first match of ``answer``: behind the answer there is no step.

    For text whose steps are written out; ``steps`` asks the task instead.

    Args:
        task: decodes.
        between: regular expression of what stands between two steps; a boundary is the last one inside a match.
        answer: regular expression of what announces the answer.
        apart: least sampled tokens between boundaries, and before the first one, >= 1.
    """

    def __init__(self, *, task: Task, between: str, answer: str, apart: int) -> None:
        if apart < 1:
            raise ValueError(f"replay.cut.apart is {apart}; expected >= 1")
        self._task, self._apart = task, apart
        self._between, self._answer = _compiled("between", between), _compiled("answer", answer)

    def boundaries(self, attempt: Attempt) -> list[int]:
        return cut_text(self._task.decode, attempt.response, self._gaps, self._apart)

    def _gaps(self, text: str) -> list[tuple[int, int]]:
        answer = self._answer.search(text)
        end = len(text) if answer is None else answer.start()
        return [match.span() for match in self._between.finditer(text) if match.end() <= end]


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"replay.cut.{name} is {pattern!r}; expected a regular expression: {error}") from error
