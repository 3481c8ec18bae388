"""ExGRPO: a share of the batch goes to half-mastered problems, each beside its most confident stored answer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from rrl import rng
from rrl.ops.segments import segment_mean
from rrl.protocols import Policy, Task
from rrl.ranks import Ranks
from rrl.recall.memory import Answer, Memory, answers_of, appended
from rrl.records import Progress
from rrl.types import Metrics, Rollouts, Scored, Start, sequences_of


class ExGRPO:
    """Problems by how often they were solved, answers by how sure today's policy is of them.

    Zhan et al., 2510.02245. Problems with solved and unsolved rows in their latest group are kept in buckets by
    their solved share p = b / num_buckets; a bucket is drawn with probability in proportion to
    exp(-(p - 1/2)^2 / (2 sigma^2)), a problem uniformly inside it, without replacement. Beside the fresh rows of such
    a problem stands the stored solved answer whose tokens have the lowest mean entropy under the current policy, in
    one group with them. A problem whose rows are all solved retires for good. Nothing is recalled before the solve
    rate of a step's fresh rows has once reached ``start_at``. There the answer takes the place of one fresh row, here
    it stands beside them, under the run's one objective (``luffy_shape`` is the shaped loss used there).

    Args:
      share: of the fresh starts that go to stored problems, (0, 1).
      num_buckets: buckets of the solved share, >= 2; rows of a group.
      sigma: of the preference for p = 1/2, in units of p, > 0.
      start_at: solve rate of fresh rows, [0, 1].
      capacity: answers kept of a problem, >= 1.
    """

    def __init__(
        self, *, seed: int, ranks: Ranks, task: Task, policy: Policy, share: float, num_buckets: int, sigma: float,
        start_at: float, capacity: int,
    ) -> None:
        if not 0.0 < share < 1.0:
            raise ValueError(f"recall.share is {share}; expected a number in (0, 1); use recall=none to recall nothing")
        if num_buckets < 2 or sigma <= 0.0 or capacity < 1 or not 0.0 <= start_at <= 1.0:
            raise ValueError(
                f"recall.num_buckets is {num_buckets}, sigma {sigma}, capacity {capacity} and start_at {start_at}; "
                "expected >= 2, > 0, >= 1 and a number in [0, 1]"
            )
        self._seed, self._ranks, self._policy = seed, ranks, policy
        self._problems = {p.id: p for p in task.train_problems()}
        self._share, self._num_buckets, self._sigma, self._start_at = share, num_buckets, sigma, start_at
        self._memory = Memory(capacity=capacity, distinct=True)
        self._bucket: dict[str, int] = {}  # problem with stored answers -> solved share of its latest group
        self._retired: set[str] = set()
        self._begun = False
        self._wanted: tuple[str, ...] = ()  # of this step; chosen again after a reload

    def starts(self, progress: Progress, num_starts: int) -> list[Start]:
        """floor(share x num_starts) stored problems, fewer while fewer are stored; pure in (memory, seed, step)."""
        num = math.floor(self._share * num_starts) if self._begun else 0
        self._wanted = tuple(self._drawn(num, progress.step))
        return [Start(problem=self._problems[problem]) for problem in self._wanted]

    def recall(self, rollouts: Rollouts, progress: Progress) -> Rollouts:  # noqa: ARG002  (the door's signature)
        """The surest answer behind the rows of each start that ``starts`` chose; problems that came by chance get none.

        All ranks score the answers of all chosen problems, so that all make the same forward.
        """
        if not self._wanted:
            return rollouts
        surest, recalled = self._surest(), []
        left = set(self._wanted)
        for start in reversed(rollouts.sequences.starts):  # chosen ones stand behind those that came by chance
            if not start.replayed and start.problem.id in left:
                left.remove(start.problem.id)
                recalled.append((Start(problem=start.problem, recalled="joined"), surest[start.problem.id]))
        return appended(rollouts, recalled[::-1])

    def remember(self, sampled: Scored, progress: Progress) -> Metrics:
        """Sort the step's problems into buckets, retire the mastered ones, store solved answers of the others."""
        answers = answers_of(sampled, progress.step, self._ranks)
        groups: dict[str, list[bool]] = {}
        for answer in answers:
            groups.setdefault(answer.problem, []).append(answer.solved)
        for problem, solved in groups.items():
            if all(solved):
                self._retired.add(problem)
                self._bucket.pop(problem, None)
                self._memory.forget(problem)
            elif any(solved) and problem not in self._retired:
                nearest = round(self._num_buckets * sum(solved) / len(solved))
                self._bucket[problem] = min(max(nearest, 1), self._num_buckets - 1)
        self._memory.add([a for a in answers if a.solved and a.problem not in self._retired])
        if progress.step >= 0 and answers:
            self._begun |= sum(a.solved for a in answers) / len(answers) >= self._start_at
        return {
            "recall/size": float(len(self._memory)), "recall/problems": float(len(self._memory.problems)),
            "recall/retired": float(len(self._retired)),
        }  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Answers, buckets, retired problems, and whether it has begun."""
        return {
            "memory": self._memory.state_dict(), "bucket": dict(sorted(self._bucket.items())),
            "retired": sorted(self._retired), "begun": self._begun,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self._memory.load_state_dict(state["memory"])
        self._bucket = {str(problem): int(b) for problem, b in state["bucket"].items()}
        self._retired, self._begun = set(state["retired"]), bool(state["begun"])

    def _drawn(self, num: int, step: int) -> list[str]:
        """Distinct problems: first the bucket by the Gaussian weight, then a problem inside it."""
        buckets: dict[int, list[str]] = {}
        for problem in sorted(self._bucket):
            buckets.setdefault(self._bucket[problem], []).append(problem)
        generator, drawn = rng.generator(self._seed, "recall.exgrpo", step), list[str]()
        while buckets and len(drawn) < num:
            names = sorted(buckets)
            weight = np.array([bucket_weight(b / self._num_buckets, self._sigma) for b in names])
            b = names[int(np.searchsorted(weight.cumsum() / weight.sum(), generator.random(), side="right"))]
            drawn.append(buckets[b].pop(int(generator.integers(len(buckets[b])))))
            if not buckets[b]:
                del buckets[b]
        return drawn

    def _surest(self) -> dict[str, Answer]:
        """Of each wanted problem, the stored answer of lowest mean token entropy, the newest among equal ones."""
        answers = [a for problem in self._wanted for a in self._memory.of(problem)]
        sequences = sequences_of([(Start(problem=self._problems[a.problem]), a.tokens) for a in answers])
        _, entropy = self._policy.logprob(sequences)
        mean = segment_mean(entropy.detach().to("cpu", torch.float32), sequences.offsets).tolist()
        surest: dict[str, tuple[float, Answer]] = {}
        for answer, h in zip(answers, mean, strict=True):
            if answer.problem not in surest or h <= surest[answer.problem][0]:
                surest[answer.problem] = (h, answer)
        return {problem: answer for problem, (_, answer) in surest.items()}


def bucket_weight(p: float, sigma: float) -> float:
    """exp(-(p - 1/2)^2 / (2 sigma^2)). p .5 -> 1; one sigma off -> e^-.5 = .607."""
    return math.exp(-((p - 0.5) ** 2) / (2.0 * sigma**2))
