"""Answers that are mathematics, compared by math-verify in a process of its own."""

from __future__ import annotations

import importlib.util
from functools import lru_cache

from rrl.protocols import Outcome
from rrl.task.data.row import Row
from rrl.task.grade.judge import shared
from rrl.task.grade.marks import Marks

_VERDICTS = "rrl.task.grade.math_verdict"
_LONGEST = 400
"""Characters of an answer that is still judged: longer ones are lists of guesses, and slow."""


class MathGrader:
    """1 and solved where what the response states equals the gold answer as mathematics, else 0.

    Fractions, radicals, intervals, sets, tuples, matrices, equations, units and words: math-verify 0.9. An answer that
    it cannot judge in time is not solved; that is logged and counted (``unjudged``).

    Args:
      marks: see ``rrl.task.grade.marks``; only a marked answer counts, or a list of guesses would be right.
      timeout_s: seconds for one comparison, > 0.
      memory_mb: address space of the verifier's process, >= 256.
    Raises:
      ValueError: math-verify is not installed.
    """

    score_range = (0.0, 1.0)

    def __init__(self, *, marks: tuple[str, ...], timeout_s: float, memory_mb: int) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise ValueError("task.grader is MathGrader, which needs math-verify: pip install 'rrl[tasks]'")
        if not timeout_s > 0.0 or memory_mb < 256:
            raise ValueError(
                f"task.grader has timeout_s {timeout_s}, memory_mb {memory_mb}; expected timeout_s > 0, memory_mb >= "
                "256"
            )
        self._marks, self._timeout_s, self._judge = Marks(marks), timeout_s, shared(_VERDICTS, memory_mb)
        self.fingerprint = f"math-verify-1 {marks} {timeout_s}"
        self._verdict = lru_cache(maxsize=1 << 16)(self._asked)

    @property
    def unjudged(self) -> int:
        """Answers without a verdict so far, in this process."""
        return self._judge.unjudged

    def flaw(self, row: Row) -> str:
        short = len(row.answer) <= _LONGEST
        readable = short and self._judge.ask("readable", row.answer, timeout_s=self._timeout_s) == 1.0
        return "" if readable else f"has answer {row.answer[:80]!r}, which math-verify cannot read"

    def grade(self, row: Row, response: str) -> Outcome:
        stated = self._marks.last(response)
        solved = stated is not None and 0 < len(stated) <= _LONGEST and self._verdict(row.answer, stated)
        return Outcome(float(solved), solved)

    def stated(self, response: str) -> int | None:
        return self._marks.first(response)

    def say(self, answer: str) -> str:
        return self._marks.say(answer)

    def _asked(self, gold: str, answer: str) -> bool:
        return self._judge.ask("equal", gold, answer, timeout_s=self._timeout_s) == 1.0
