"""Cuts of successful traces, from the first step to the last: what curricula on known solutions restart from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from rrl.environment import with_given
from rrl.protocols import Task
from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import open_boundaries, own_prefix

Source = Literal["solution", "solved"]


class TraceCuts:
    """``num_cuts`` evenly spaced beginnings of a trace that is known to end well.

    Of the step ends t_1 < ... < t_n strictly inside the trace those numbered ceil(k n / m), k = 1..m, m = min(num_cuts,
    n): every state from nearly bare to nearly done, the latest included. Which of them is worth a restart is left to
    the selection: by depth (R3, Xi et al., 2402.05808; StepCoder, Dou et al., 2402.01391), by success (PrefixRL,
    2601.18795) or by a search on each problem (AdaBack, Amani et al., 2506.18110).

    solution: the task's canonical solution, at the task's own steps, proposed at every attempt of its problem (the
    store refuses what it holds).  solved: the policy's solved attempts from the bare prompt, at the cut's boundaries.

    Example: step ends (1, 2, 3, 4), num_cuts 2 -> 2 and 4.

    Args:
        task: knows a solution's steps, and what an environment says inside it.
        source: where traces come from.
        num_cuts: of a trace, >= 1; ``replay.store.slots_per_problem`` must hold them.
        born_value: P(solved) of a cut of a solution until it is re-scored, [0, 1].
    """

    def __init__(self, *, task: Task, source: Source, num_cuts: int, born_value: float) -> None:
        if source not in get_args(Source):
            raise ValueError(f"replay.admission.source is {source!r}; expected one of: {', '.join(get_args(Source))}")
        if num_cuts < 1 or not 0.0 <= born_value <= 1.0:
            raise ValueError(f"replay.admission.num_cuts is {num_cuts} and born_value {born_value}; expected >= 1 and "
                             "a number in [0, 1]; use replay/admission=none to remember nothing")
        self._task, self._source, self._num_cuts, self._born_value = task, source, num_cuts, born_value
        self._solution_cuts: dict[str, list[int]] = {}  # a solution's steps never change, and text is slow to split

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        if self._source == "solution":
            return self._of_solution(attempt, step)
        if not attempt.solved or attempt.start.replayed:
            return []
        cuts = spread(open_boundaries(attempt, boundaries), self._num_cuts)
        return [prefix for t in cuts for prefix in own_prefix(attempt, t, step)]

    def _of_solution(self, attempt: Attempt, step: int) -> list[Prefix]:
        problem = attempt.start.problem
        if problem.id not in self._solution_cuts:
            ends = self._task.steps(problem, problem.solution) if problem.solution else []
            longest = min(len(problem.solution), problem.max_response)
            self._solution_cuts[problem.id] = spread([t for t in ends if 0 < t < longest], self._num_cuts)
        return [
            Prefix(
                problem=problem, tokens=with_given(self._task, problem, problem.solution[:t]),
                origin="canonical", born_step=step, born_value=self._born_value,
                depth_frac=t / len(problem.solution), parent=attempt.start.key,
            )
            for t in self._solution_cuts[problem.id]
        ]


def spread(cuts: Sequence[int], num: int) -> list[int]:
    """At most ``num`` of ``cuts``, evenly spaced, the last one always. (1, 2, 3, 4) and 2 -> [2, 4]."""
    num = min(num, len(cuts))
    return [cuts[-(-k * len(cuts) // num) - 1] for k in range(1, num + 1)]
