"""What a text task asks of a grader."""

from __future__ import annotations

from typing import Protocol

from rrl.protocols import Outcome
from rrl.task.data.row import Row


class Grader(Protocol):
    """Compares what a response states with a row's gold answer. Law: the same verdict every time."""

    score_range: tuple[float, float]
    fingerprint: str
    """Changes when a verdict may."""

    def flaw(self, row: Row) -> str:
        """Why no response to ``row`` could be judged (its gold answer cannot be read); "" where there is no flaw."""
        ...

    def grade(self, row: Row, response: str) -> Outcome: ...

    def stated(self, response: str) -> int | None:
        """Character at which the answer is first announced; None where it is not."""
        ...

    def say(self, answer: str) -> str:
        """How a response states ``answer``."""
        ...
