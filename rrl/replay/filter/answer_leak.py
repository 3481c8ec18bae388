"""Prefixes that already hold the answer: restarting from them teaches copying."""

from __future__ import annotations

from rrl.protocols import Task, Verdict
from rrl.records import Attempt, Prefix
from rrl.replay.filter.gold_answer import says
from rrl.types import plain


class AnswerLeak:
    """Drop a prefix that the task's own scorer accepts as a whole response, and a canonical one that states the answer.

    1. any origin: ``task.score(problem, prefix).solved``, as it stands or with a stop token behind it;
    2. origin "canonical" (outside text): ``problem.answer`` stands in the decoded prefix as whole words, after
       lower-casing and collapsing white space. A model's own prefix may well mention the answer's number.

    Args:
        task: scores and decodes.
    """

    def __init__(self, *, task: Task) -> None:
        self._task = task

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        # A task may ask a response to end by itself: the prefix is then an answer but for its stop token.
        ends = [(), *((token,) for token in prefix.problem.stop)]
        if any(self._task.score(prefix.problem, prefix.tokens + end).solved for end in ends):
            return Verdict("drop", "the prefix alone is scored as solved")
        foreign = prefix.origin == "canonical" and bool(prefix.problem.answer.strip())
        if foreign and says(self._task.decode(plain(prefix.tokens)), prefix.problem.answer):
            return Verdict("drop", "the canonical prefix states the answer")
        return Verdict("keep", "")
