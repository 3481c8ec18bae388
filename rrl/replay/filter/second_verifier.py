"""Conversions that only the task's own scorer believes in: against false positives."""

from __future__ import annotations

from typing import Protocol

from rrl.protocols import Outcome, Verdict
from rrl.records import Attempt, Prefix
from rrl.types import Problem, Tokens


class Verifier(Protocol):
    """Another scorer. A ``Task`` is one."""

    def score(self, problem: Problem, response: Tokens) -> Outcome: ...


class SecondVerifier:
    """Drop where the attempt counts as solved and ``verifier`` does not find its whole response solved.

    A wrong answer that a scorer accepts is converted, credited and repeated: one mistake in ten becomes a habit. Two
    scorers that err independently let pass one in a hundred. An unsolved attempt, and a prefix that is not of the
    attempt (a canonical one), are kept.

    Args:
        verifier: another scorer, whose mistakes are not those of the task's.
    """

    def __init__(self, *, verifier: Verifier) -> None:
        self._verifier = verifier

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:
        response = attempt.response
        if not attempt.solved or response[: len(prefix.tokens)] != prefix.tokens:
            return Verdict("keep", "")
        if self._verifier.score(prefix.problem, response).solved:
            return Verdict("keep", "")
        return Verdict("drop", "the second verifier does not find the answer right")
