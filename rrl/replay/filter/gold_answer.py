"""A plain verifier: does the response say the gold answer at all?"""

from __future__ import annotations

import re

from rrl.protocols import Outcome, Task
from rrl.types import Problem, Tokens, plain


class GoldAnswer:
    """Solved where ``problem.answer`` stands in the decoded response as whole words.

    Case and white space are ignored. It knows no equal forms (1/2 and 0.5) and no place of the answer, so it is a
    second opinion and no scorer: it refuses what a scorer was talked into without the answer ever being said.

    Args:
        task: decodes.

    Raises:
        ValueError: a training problem has no answer in words.
    """

    def __init__(self, *, task: Task) -> None:
        if blank := [problem.id for problem in task.train_problems() if not problem.answer.strip()]:
            raise ValueError(f"replay.filter.second_verifier.verifier is GoldAnswer, and problem {blank[0]!r} has no "
                             "answer in words; expected another verifier, or no second_verifier")
        self._task = task

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        said = says(self._task.decode(plain(response)), problem.answer)
        return Outcome(float(said), said)


def says(text: str, answer: str) -> bool:
    """Whether ``answer`` stands in ``text`` as whole words. "It is TWELVE  apples." says "twelve apples"."""
    return re.search(rf"(?<!\w){re.escape(_normal(answer))}(?!\w)", _normal(text)) is not None


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
