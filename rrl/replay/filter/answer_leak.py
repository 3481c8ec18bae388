"""Prefixes that already hold the answer: restarting from them teaches copying."""

from __future__ import annotations

import logging

from rrl.protocols import Task, Verdict
from rrl.records import Attempt, Prefix
from rrl.replay.filter.gold_answer import says
from rrl.types import plain

log = logging.getLogger(__name__)


class AnswerLeak:
    """Drop a prefix that the task's own scorer accepts as a whole response, and a canonical one that states the answer.

    1. any origin: ``task.score(problem, prefix).solved``, as it stands or with a stop token behind it;
    2. origin "canonical" (outside text): ``problem.answer`` stands in the decoded prefix as whole words, after
       lower-casing and collapsing white space. A model's own prefix may well mention the answer's number.

    A scorer may choke on half an answer where it never did on whole ones; what it cannot judge is dropped, for a store
    can do without a state, and a run that ends at it cannot go on.

    Args:
        task: scores and decodes.
    """

    def __init__(self, *, task: Task) -> None:
        self._task, self._told = task, set[type[Exception]]()

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        # A task may ask a response to end by itself: the prefix is then an answer but for its stop token.
        ends = [(), *((token,) for token in prefix.problem.stop)]
        try:
            leaks = any(self._task.score(prefix.problem, prefix.tokens + end).solved for end in ends)
        except Exception as error:  # noqa: BLE001 - a scorer is the user's code and may raise anything
            if type(error) not in self._told:
                self._told.add(type(error))
                log.warning("replay.filter.answer_leak: scoring a prefix of %r failed (%s); it is dropped (said once a "
                            "kind)", prefix.problem.id, f"{type(error).__name__}: {error}"[:300])  # fmt: skip
            return Verdict("drop", f"scoring the prefix alone fails: {type(error).__name__}")
        if leaks:
            return Verdict("drop", "the prefix alone is scored as solved")
        foreign = prefix.origin == "canonical" and bool(prefix.problem.answer.strip())
        if foreign and says(self._task.decode(plain(prefix.tokens)), prefix.problem.answer):
            return Verdict("drop", "the canonical prefix states the answer")
        return Verdict("keep", "")
