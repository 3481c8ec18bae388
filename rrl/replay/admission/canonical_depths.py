"""Every beginning of the canonical solution: the oracle that does not know how deep to restart."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.environment import with_given
from rrl.protocols import Task
from rrl.records import Attempt, Candidates, Prefix


class CanonicalDepths:
    """One prefix for each t = 1..T - 1 of ``problem.solution``; nothing where no solution is known.

    Proposed at every attempt; the store refuses what it holds already, and needs exact dedup and T - 1 slots a problem.

    Args:
        task: says what an environment says inside the solution.
        born_value: P(solved) that they are stored with until re-scored, [0, 1].
    """

    def __init__(self, *, task: Task, born_value: float) -> None:
        if not 0.0 <= born_value <= 1.0:
            raise ValueError(f"replay.admission.born_value is {born_value}; expected a number in [0, 1]")
        self._task, self._born_value = task, born_value

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        problem = attempt.start.problem
        return [
            Prefix(
                problem=problem, tokens=with_given(self._task, problem, problem.solution[:t]), origin="canonical",
                born_step=step, born_value=self._born_value, depth_frac=t / len(problem.solution),
                parent=attempt.start.key,
            )
            for t in range(1, len(problem.solution))
        ]
