"""Prefixes that already hold the answer: restarting from them teaches copying."""

from __future__ import annotations

import re

from rrl.protocols import Task, Verdict
from rrl.records import Attempt, Prefix


class AnswerLeak:
    """Drop a prefix that the task's own scorer accepts as a whole response, and a canonical one that states the answer.

    1. any origin: ``task.score(problem, prefix).solved``;
    2. origin "canonical" (outside text): ``problem.answer`` stands in the decoded prefix as whole words, after
       lower-casing and collapsing white space. A model's own prefix may well mention the answer's number.

    Args:
        task: scores and decodes.
    """

    def __init__(self, *, task: Task) -> None:
        self._task = task

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        if self._task.score(prefix.problem, prefix.tokens).solved:
            return Verdict("drop", "the prefix alone is scored as solved")
        if prefix.origin == "canonical" and prefix.problem.answer.strip():
            answer, text = _normal(prefix.problem.answer), _normal(self._task.decode(prefix.tokens))
            if re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text):
                return Verdict("drop", "the canonical prefix states the answer")
        return Verdict("keep", "")


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
