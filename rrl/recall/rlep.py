"""RLEP: a few verified answers of the past stand in the group of every problem that is sampled."""

from __future__ import annotations

from typing import Any

from rrl import rng
from rrl.ranks import Ranks
from rrl.recall.memory import Answer, Memory, answers_of, appended
from rrl.records import Progress
from rrl.types import Metrics, Rollouts, Scored, Start, prefix_key


class RLEP:
    """Behind the rows of each fresh start come ``num_answers`` stored solved answers to its problem, drawn at random.

    Zhang et al., 2507.07451: G fresh rows and M verified ones make one group of G + M, with one baseline (16 and 2
    there). There the answers come from a first run that is thrown away; here from this run's own past, so that no
    token is spent outside the budget. Fewer than ``num_answers`` are recalled while fewer are stored; of equal answers
    the newest is kept, whose log-probs are the least stale.

    Args:
      num_answers: of a start, >= 1.
      capacity: answers kept of a problem, >= num_answers.
    """

    def __init__(self, *, seed: int, ranks: Ranks, num_answers: int, capacity: int) -> None:
        if not 1 <= num_answers <= capacity:
            raise ValueError(
                f"recall.num_answers is {num_answers} and capacity {capacity}; expected 1 <= num_answers <= capacity; "
                "use recall=none to learn from rows of this step alone"
            )
        self._seed, self._ranks, self._num_answers = seed, ranks, num_answers
        self._memory = Memory(capacity=capacity, distinct=True)

    def starts(self, progress: Progress, num_starts: int) -> list[Start]:  # noqa: ARG002  (the door's signature)
        """None: answers follow the problems that are drawn anyway."""
        return []

    def recall(self, rollouts: Rollouts, progress: Progress) -> Rollouts:
        """Pure in (memory, seed, step, problem): a problem that is drawn twice gets the same answers twice."""
        recalled = []
        for start in rollouts.sequences.starts:
            if not start.replayed:
                mark = Start(problem=start.problem, recalled="joined")
                recalled += [(mark, answer) for answer in self._drawn(start.problem.id, progress.step)]
        return appended(rollouts, recalled)

    def remember(self, sampled: Scored, progress: Progress) -> Metrics:
        """Store the step's solved answers."""
        self._memory.add([a for a in answers_of(sampled, progress.step, self._ranks) if a.solved])
        return {"recall/size": float(len(self._memory)), "recall/problems": float(len(self._memory.problems))}

    def state_dict(self) -> dict[str, Any]:
        """The stored answers."""
        return {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the stored answers."""
        self._memory.load_state_dict(state["memory"])

    def _drawn(self, problem: str, step: int) -> list[Answer]:
        stored = self._memory.of(problem)
        generator = rng.generator(self._seed, "recall.rlep", step, int(prefix_key(problem, ()), 16))
        order = generator.permutation(len(stored))[: self._num_answers]
        return [stored[i] for i in sorted(order.tolist())]
