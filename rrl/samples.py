"""What a policy answers to a fixed set of problems, as plain rows for ``samples.jsonl``.

Nothing is computed here that can be computed from those rows: see ``rrl.report.evaluation``. A row depends on the
problem's place, the seed and the weights alone, so a stopped job continues with the rows it would have written, two
ranks write what one does, and two policies with one seed meet the same noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from rrl import rng
from rrl.protocols import Policy, Reward, RunsPrograms, Task
from rrl.ranks import Ranks
from rrl.types import Problem, Scored, Start, plain, sampled

_STEP = 0  # names the noise: the same for every checkpoint, so that their differences are of weights, not of luck


class Samples:
    """Samples of the chosen problems, a shard at a time.

    Args:
      seed: names the noise and the choice of problems.
      reward: gives score and ``solved``; what it leaves out is marked as dropped.
      split: "heldout" or "train" problems of the task.
      num_problems: a fixed random choice of so many; 0 = all.
      num_samples: n responses a problem, >= 1.
      k: of pass@k, each in 1..num_samples; none = 1, 2, 4, ... up to num_samples.
      greedy: also one response of likeliest tokens.
      shard_problems: problems sampled together and saved together, >= 1; more are quicker, and more are lost by a stop.
    Raises:
      ValueError: a number is out of range, or the split is empty.
    """

    def __init__(
        self, *, seed: int, policy: Policy, task: Task, reward: Reward, ranks: Ranks,
        split: Literal["heldout", "train"], num_problems: int, num_samples: int, k: Sequence[int] | None, greedy: bool,
        shard_problems: int,
    ) -> None:  # fmt: skip
        least = {"num_problems": (num_problems, 0), "num_samples": (num_samples, 1),
                 "shard_problems": (shard_problems, 1)}  # fmt: skip
        for key, (number, bound) in least.items():
            if number < bound:
                raise ValueError(f"samples.{key} is {number}; expected >= {bound}")
        self.k = checked_k(k, num_samples)
        problems = task.eval_problems() if split == "heldout" else task.train_problems()
        if not problems:
            raise ValueError(f"samples.split is {split!r}, and task {task.name!r} has no such problems; "
                             f"expected samples.split={'train' if split == 'heldout' else 'heldout'}")
        if num_problems > len(problems):
            raise ValueError(f"samples.num_problems is {num_problems}; task {task.name!r} has {len(problems)} {split} "
                             "problems; expected at most so many, or 0 = all")
        chosen = rng.generator(seed, "evaluate.samples.problems").permutation(len(problems))[: num_problems or None]
        self.problems = [problems[i] for i in sorted(chosen.tolist())]
        self.split, self.num_samples, self.greedy, self.shard_problems = split, num_samples, greedy, shard_problems
        self._policy, self._task, self._reward, self._ranks = policy, task, reward, ranks
        self._stream = f"evaluate.samples.{seed}"
        self._seed = seed

    def request(self) -> dict[str, Any]:
        """Everything that the rows depend on: a job goes on only where nothing of it has changed."""
        return {
            "task": self._task.name, "task_fingerprint": self._task.fingerprint, "split": self.split,
            "seed": self._seed, "num_problems": len(self.problems), "num_samples": self.num_samples,
            "greedy": self.greedy, "shard_problems": self.shard_problems, "policy": self._policy.fingerprint,
            "weights": weights_of(self._policy),
        }  # fmt: skip

    def rows(self, first: int, last: int) -> list[dict[str, Any]]:
        """Rows of the problems [first, last), sampled by all ranks together; the same list on each."""
        begin, end = self._ranks.bounds(last - first)
        mine = self.problems[first + begin : first + end]
        answers = self._answers(mine, self.num_samples, first + begin, self._stream, greedy=False)
        likeliest: dict[str, list[Any]] = {}
        if self.greedy:
            likeliest = self._answers(mine, 1, first + begin, f"{self._stream}.greedy", greedy=True)
        return self._ranks.gather([self._row(p, answers, likeliest) for p in mine])

    def asked(self, problems: Sequence[Problem]) -> list[dict[str, Any]]:
        """What a row says of its problem."""
        return [
            {"problem": p.id, "difficulty": p.difficulty, "prompt": self._policy.decode(p.prompt), "answer": p.answer}
            for p in problems
        ]

    def _row(self, problem: Problem, answers: dict[str, list[Any]], greedy: dict[str, list[Any]]) -> dict[str, Any]:
        found, likeliest = answers.get(problem.id), greedy.get(problem.id, [None])[0]
        dropped = found is None or (self.greedy and likeliest is None)
        told = {"dropped": dropped, "responses": [] if dropped else found, "greedy": None if dropped else likeliest}
        return self.asked([problem])[0] | told

    def _answers(
        self, problems: Sequence[Problem], num: int, first: int, stream: str, *, greedy: bool
    ) -> dict[str, list[Any]]:
        """Problem id -> its responses; a problem that the reward left out is not there."""
        if not problems:
            return {}
        starts = [Start(problem=p) for p in problems]
        scored = self._reward.score(self._policy.rollout(
            starts, samples_per_start=num, step=_STEP, first_row=first * num, stream=stream, greedy=greedy
        ))  # fmt: skip
        answers: dict[str, list[Any]] = {}
        for row, response in enumerate(self._responses(scored)):
            answers.setdefault(scored.rollouts.sequences.start_of(row).problem.id, []).append(response)
        return answers

    def _responses(self, scored: Scored) -> list[dict[str, Any]]:
        sequences, found = scored.rollouts.sequences, []
        for i, tokens in enumerate(sequences.all_tokens()):
            problem = sequences.start_of(i).problem
            response: dict[str, Any] = {
                "text": self._policy.decode(plain(tokens)), "tokens": len(sampled(tokens)),
                "ended": bool(scored.rollouts.ended[i]), "solved": bool(scored.solved[i]),
                "score": float(scored.score[i]),
            }  # fmt: skip
            if isinstance(self._task, RunsPrograms):
                tested = self._task.tests(problem, tokens)
                response["tests"] = tested and tested._asdict()
            found.append(response)
        return found


def checked_k(k: Sequence[int] | None, num_samples: int) -> tuple[int, ...]:
    """The k of pass@k, ascending; powers of two up to ``num_samples`` where none are named.

    Raises:
      ValueError: no k, or one outside 1..num_samples.
    """
    if k is None:
        return tuple(2**i for i in range(num_samples.bit_length()))
    if wrong := [x for x in k if not 1 <= x <= num_samples]:
        raise ValueError(f"samples.k has {wrong[0]}; expected 1..{num_samples} (samples.num_samples)")
    if not k:
        raise ValueError("samples.k is empty; expected numbers in 1..samples.num_samples, or null")
    return tuple(sorted(set(k)))


def weights_of(policy: Policy) -> str:
    """A digest of about 1,024 numbers spread over each parameter: any update changes it, and it costs no copy."""
    digest = hashlib.blake2b(digest_size=8)
    for parameter in policy.parameters():
        flat = parameter.detach().reshape(-1)
        digest.update(flat[:: max(1, len(flat) // 1024)].double().cpu().numpy().tobytes())
    return digest.hexdigest()
