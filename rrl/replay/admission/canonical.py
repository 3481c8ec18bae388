"""The right prefix of every attempted problem, told by the task: the oracle, an upper bound for finding states."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.environment import with_given
from rrl.protocols import Task
from rrl.records import Attempt, Candidates, Prefix


class Canonical:
    """One prefix a problem: ``task.right_prefix``, where the task knows one. Nothing of the attempt is kept.

    Proposed at every attempt; the store refuses what it holds already.

    Args:
        task: knows the right prefix.
        born_value: P(solved) that it is stored with until re-scored, [0, 1].
    """

    def __init__(self, *, task: Task, born_value: float) -> None:
        if not 0.0 <= born_value <= 1.0:
            raise ValueError(f"replay.admission.born_value is {born_value}; expected a number in [0, 1]")
        self._task, self._born_value = task, born_value

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        problem = attempt.start.problem
        tokens = self._task.right_prefix(problem)
        whole = len(problem.solution) or problem.max_response
        if not tokens or len(tokens) >= whole:
            return []
        return [Prefix(
            problem=problem, tokens=with_given(self._task, problem, tokens), origin="canonical", born_step=step,
            born_value=self._born_value, depth_frac=len(tokens) / whole, parent=attempt.start.key,
        )]
