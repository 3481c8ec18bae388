"""RePO: past answers to the problem at hand, good and bad, as an off-policy group of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from rrl.ranks import Ranks
from rrl.recall.memory import Answer, Memory, answers_of, appended
from rrl.records import Progress
from rrl.types import Metrics, Rollouts, Scored, Start

Strategy = Literal["full", "recency", "reward", "variance"]
Advantages = Literal["apart", "joined"]


class RePO:
    """Behind the rows of each fresh start come stored answers to its problem, chosen by ``strategy``.

    Li et al., 2506.09340: loss = on-policy + off-policy, each with its own group advantage ("split" there, "apart"
    here) and the clipped ratio to the policy that gave the answer. Here the two are weighed by their rows instead of
    one to one. A problem's answers are a queue of ``capacity``, solved or not, equal ones included.

    full: all that are stored.  recency: the newest.  reward: the highest scores, newer first among equal ones.
    variance: those whose scores have the largest variance, the larger sum among equal ones.

    Args:
      num_answers: of a start, >= 1; ``full`` does not ask.
      capacity: answers kept of a problem, >= num_answers.
      min_answers: stored answers below which a problem recalls none, >= 1.
      advantages: apart or joined, see ``Start.recalled``.
    """

    def __init__(
        self, *, ranks: Ranks, strategy: Strategy, num_answers: int, capacity: int, min_answers: int,
        advantages: Advantages,
    ) -> None:
        if strategy not in get_args(Strategy):
            raise ValueError(f"recall.strategy is {strategy!r}; expected one of: {', '.join(get_args(Strategy))}")
        if advantages not in get_args(Advantages):
            raise ValueError(f"recall.advantages is {advantages!r}; expected apart or joined")
        if not (1 <= num_answers <= capacity and 1 <= min_answers <= capacity):
            raise ValueError(
                f"recall.num_answers is {num_answers}, min_answers {min_answers} and capacity {capacity}; expected the "
                "first two >= 1 and at most capacity; use recall=none to learn from rows of this step alone"
            )
        self._ranks, self._strategy, self._num_answers = ranks, strategy, num_answers
        self._min_answers, self._advantages = min_answers, advantages
        self._memory = Memory(capacity=capacity, distinct=False)

    def starts(self, progress: Progress, num_starts: int) -> list[Start]:  # noqa: ARG002  (the door's signature)
        """None: answers follow the problems that are drawn anyway."""
        return []

    def recall(self, rollouts: Rollouts, progress: Progress) -> Rollouts:  # noqa: ARG002
        """Pure in (memory, problem): a problem that is drawn twice gets the same answers twice."""
        recalled = []
        for start in rollouts.sequences.starts:
            stored = self._memory.of(start.problem.id)
            if not start.replayed and len(stored) >= self._min_answers:
                mark = Start(problem=start.problem, recalled=self._advantages)
                recalled += [(mark, answer) for answer in chosen(stored, self._strategy, self._num_answers)]
        return appended(rollouts, recalled)

    def remember(self, sampled: Scored, progress: Progress) -> Metrics:
        """Store the step's answers."""
        self._memory.add(answers_of(sampled, progress.step, self._ranks))
        return {"recall/size": float(len(self._memory)), "recall/problems": float(len(self._memory.problems))}

    def state_dict(self) -> dict[str, Any]:
        """The stored answers."""
        return {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the stored answers."""
        self._memory.load_state_dict(state["memory"])


def chosen(stored: Sequence[Answer], strategy: Strategy, num: int) -> list[Answer]:
    """``num`` of ``stored`` (oldest first) by one of the four strategies, oldest first."""
    places = list(range(len(stored)))
    if strategy == "recency":
        places = places[-num:]
    elif strategy == "reward":
        places = sorted(places, key=lambda i: (-stored[i].score, -i))[:num]
    elif strategy == "variance":
        places = most_spread([a.score for a in stored], num)
    return [stored[i] for i in sorted(places)]


def most_spread(scores: Sequence[float], num: int) -> list[int]:
    """Places of the ``num`` scores with the largest variance, the larger sum among equal ones, sorted.

    Such a set is the l lowest and num - l highest for some l: a score inside the range of the others can be
    exchanged for one at an end without loss. So num + 1 sets are tried instead of all.

    Example: scores (0, 1, 0, .4), num 2 -> (0, 1) or (1, 2), variance .25; num 3 -> (0, 1, 2).
    """
    order = sorted(range(len(scores)), key=lambda i: (scores[i], i))
    if num >= len(order):
        return sorted(order)
    tried = []
    for low in range(num + 1):
        places = order[:low] + order[len(order) - (num - low) :]
        values = [scores[i] for i in places]
        mean = sum(values) / num
        tried.append((sum((x - mean) ** 2 for x in values), sum(values), sorted(places)))
    return max(tried)[2]
