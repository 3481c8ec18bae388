"""reasoning-gym's own verifiers, in a process of their own."""

from __future__ import annotations

from rrl.protocols import Outcome
from rrl.task.data.row import Row
from rrl.task.grade.judge import shared
from rrl.task.grade.marks import Marks

_LONGEST = 20_000
"""Characters of an answer that is still judged; some tasks answer with whole grids."""
_KEPT = 1 << 16
"""Verdicts remembered; groups of samples repeat their answers."""


class GymGrader:
    """Score of the data set that made the row; solved from ``solved_at`` on.

    Verifiers give partial credit (half right, right but wrapped in words), so a score above 0 is not yet an answer.
    What cannot be judged in time scores 0; that is logged and counted (``unjudged``).

    Args:
      marks: see ``rrl.task.grade.marks``.
      solved_at: least score that counts as solved, in (0, 1].
      timeout_s: seconds for one verdict, > 0.
      memory_mb: address space of the verifier's process, >= 256.
    """

    score_range = (0.0, 1.0)

    def __init__(self, *, marks: tuple[str, ...], solved_at: float, timeout_s: float, memory_mb: int) -> None:
        if not 0.0 < solved_at <= 1.0:
            raise ValueError(f"task.grader.solved_at is {solved_at}; expected a number in (0, 1]")
        if not timeout_s > 0.0 or memory_mb < 256:
            raise ValueError(
                f"task.grader has timeout_s {timeout_s}, memory_mb {memory_mb}; expected timeout_s > 0, memory_mb >= "
                "256"
            )
        self._marks, self._solved_at, self._timeout_s = Marks(marks), solved_at, timeout_s
        self._judge = shared("rrl.task.grade.gym_verdict", memory_mb)
        self.fingerprint = f"gym-1 {marks} {solved_at} {timeout_s}"
        self._scores: dict[tuple[str, str], float] = {}

    @property
    def unjudged(self) -> int:
        """Answers without a verdict so far, in this process."""
        return self._judge.unjudged

    def flaw(self, row: Row) -> str:
        return "" if "item" in row.entry else "was not made by reasoning-gym; expected task.data of GymData"

    def grade(self, row: Row, response: str) -> Outcome:
        stated = self._marks.last(response)
        if stated is None or len(stated) > _LONGEST:
            return Outcome(0.0, False)
        key = (row.where, stated)
        if key not in self._scores:
            if len(self._scores) >= _KEPT:
                self._scores.clear()
            self._scores[key] = self._asked(row, stated)
        score = self._scores[key]
        return Outcome(score, score >= self._solved_at)

    def stated(self, response: str) -> int | None:
        return self._marks.first(response)

    def say(self, answer: str) -> str:
        return self._marks.say(answer)

    def _asked(self, row: Row, answer: str) -> float:
        """Raises ValueError where a verifier leaves [0, 1]: its rows are dropped and counted, not bent into range."""
        entry = row.entry
        score = self._judge.ask(
            "gym_score", entry["name"], entry["config"], entry["item"], answer,
            timeout_s=self._timeout_s,
        )  # fmt: skip
        if score is None:
            return 0.0
        if not 0.0 <= score <= 1.0:
            raise ValueError(f"the verifier of {entry['name']!r} scored {score}; expected a number in [0, 1]")
        return score
