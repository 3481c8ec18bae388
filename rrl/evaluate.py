"""Evaluation from the bare prompt: how good the policy is, and how much better it could be.

Nothing here learns, every random stream is its own, and no token counts against the budget. ``Exact``
multiplies the T=1 probabilities of the one right response (no sampling noise); ``Sampled`` counts
solved samples and serves any task. The *capability* alone begins behind the right prefix: what the
policy could do if only it began right.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from rrl import rng
from rrl.due import Due
from rrl.environment import with_given
from rrl.pass_at_k import pass_at_k
from rrl.protocols import Measures, Policy, Reward, ScoresAhead, Task, ValueEstimator
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Metrics, Problem, Sequences, Start, Tokens, sampled, sequences_of

log = logging.getLogger(__name__)


@runtime_checkable
class HasWrongPrefixes(Protocol):
    """A task that knows wrong alternatives to its right prefixes."""

    def wrong_prefixes(self, problem: Problem) -> list[Tokens]:
        """Prefixes as long as ``right_prefix(problem)``, none of them right; [] if there are none."""
        ...


class Exact:
    """Exact T=1 success for tasks with one right response a problem (``Problem.solution``).

    success = exp(sum log pi(solution)), averaged over problems; capability sums only what follows the
    right prefix. One forward pass for all problems and a greedy rollout of the hard ones, on every rank.

    Args:
      every_steps, dense_every, dense_until: due at steps divisible by ``every_steps``, and by
        ``dense_every`` up to step ``dense_until`` (0 = never densely); both periods >= 1.
    """

    def __init__(
        self, *, policy: Policy, task: Task, value: ValueEstimator, every_steps: int, dense_every: int, dense_until: int
    ) -> None:
        self._due = Due(every_steps, dense_every, dense_until)
        self._policy, self._value = policy, value
        self._problems = task.train_problems() + task.eval_problems()
        if unsolved := [p.id for p in self._problems if not p.solution]:
            raise ValueError(f"evaluate=exact needs a solution for every problem; {unsolved[0]!r} of task "
                             f"{task.name!r} has none; use evaluate=sampled")
        self._sequences = sequences_of(
            [(Start(problem=p), with_given(task, p, p.solution)) for p in self._problems]
        )
        heldout = np.arange(len(self._problems)) >= len(task.train_problems())
        hard = np.array([p.difficulty == "hard" for p in self._problems])
        easy = np.array([p.difficulty == "easy" for p in self._problems])
        self._groups = {
            "eval/hard_success": hard & ~heldout, "eval/easy_success": easy & ~heldout,
            "eval/heldout_hard_success": hard & heldout, "eval/heldout_easy_success": easy & heldout,
        }
        self._prefix_length = np.array([len(task.right_prefix(p)) for p in self._problems])
        self._hard = [p for p, wanted in zip(self._problems, hard & ~heldout, strict=True) if wanted]
        self._contests = _contests(task, self._hard)

    def when_due(self, progress: Progress) -> Metrics:
        """Metrics where an evaluation is due, else nothing."""
        return self.now(progress) if self._due(progress) else {}

    def now(self, progress: Progress) -> Metrics:
        """Evaluate. Metrics that are undefined here (no hard problem, no known prefix) are absent."""
        whole, prefix = _prefix_sums(self._policy, self._sequences, self._prefix_length)
        success = np.exp(whole)
        metrics = {name: float(success[group].mean()) for name, group in self._groups.items() if group.any()}
        if not self._hard:
            return metrics
        known = self._groups["eval/hard_success"] & (self._prefix_length > 0)
        if known.any():
            metrics |= _gap(float(np.exp(whole[known] - prefix[known]).mean()), float(success[known].mean()))
            metrics["eval/right_prefix_logprob_nats"] = float(prefix[known].mean())
        bare = [Start(problem=p) for p in self._hard]
        said = _responses(self._policy, bare, progress.step, "evaluate.greedy", greedy=True)
        metrics["eval/hard_greedy"] = float(
            np.mean([sampled(r) == p.solution for r, p in zip(said, self._hard, strict=True)])
        )
        if self._contests:
            metrics["eval/right_key_auc"] = _contest_auc(self._value, self._contests)
        return metrics


class Sampled:
    """Solve rates of sampled responses, for any task; problems are dealt out to ranks.

    The reward counts, as in training: where it fails, its problem is left out of the means, and a figure without any
    is absent.

    Args:
      num_samples: n responses a problem, >= k.  k: of pass@k, >= 1.
      max_problems: of each group (hard or easy, training or held-out) at most so many, a fixed random choice.
      every_steps, dense_every, dense_until: as in ``Exact``.
    """

    def __init__(
        self, *, policy: Policy, task: Task, reward: Reward, seed: int, ranks: Ranks, num_samples: int, k: int,
        max_problems: int, every_steps: int, dense_every: int, dense_until: int,
    ) -> None:
        self._due = Due(every_steps, dense_every, dense_until)
        if not 1 <= k <= num_samples:
            raise ValueError(f"evaluate.k is {k}; expected 1..{num_samples} (evaluate.num_samples)")
        if max_problems < 1:
            raise ValueError(f"evaluate.max_problems is {max_problems}; expected >= 1")
        self._policy, self._task, self._reward, self._ranks = policy, task, reward, ranks
        self._num_samples, self._k = num_samples, k
        self._groups: dict[str, list[Problem]] = {}
        for split, problems in (("", task.train_problems()), ("heldout_", task.eval_problems())):
            for difficulty in ("hard", "easy"):
                group = [p for p in problems if p.difficulty == difficulty]
                chosen = rng.generator(seed, f"evaluate.{split}{difficulty}").permutation(len(group))[:max_problems]
                self._groups[f"{split}{difficulty}"] = [group[i] for i in sorted(chosen)]

    def when_due(self, progress: Progress) -> Metrics:
        """Metrics where an evaluation is due, else nothing."""
        return self.now(progress) if self._due(progress) else {}

    def now(self, progress: Progress) -> Metrics:
        """Evaluate. Metrics that are undefined here (no hard problem, no known prefix) are absent."""
        n, metrics = self._num_samples, dict[str, float]()
        solved = {
            name: self._count_solved([Start(problem=p) for p in group], n, progress.step, f"evaluate.{name}")
            for name, group in self._groups.items() if group
        }
        metrics |= _means({f"eval/{name}_success": counts / n for name, counts in solved.items()})
        if isinstance(self._task, Measures):
            metrics |= self._measured(self._task, progress.step)
        hard = self._groups["hard"]
        if not hard:
            return metrics
        starts, counts = [Start(problem=p) for p in hard], solved["hard"]
        judged = counts[~np.isnan(counts)]
        metrics |= _means({
            "eval/pass_at_1": np.array([pass_at_k(n, int(c), 1) for c in judged]),
            "eval/pass_at_k": np.array([pass_at_k(n, int(c), self._k) for c in judged]),
            "eval/unsolvable_frac": judged == 0,
            "eval/hard_greedy": self._count_solved(starts, 1, progress.step, "evaluate.greedy", greedy=True),
        })  # fmt: skip
        known = [i for i, p in enumerate(hard) if self._task.right_prefix(p)]
        if known:
            behind = [_behind(self._task, hard[i], self._task.right_prefix(hard[i])) for i in known]
            capable = self._count_solved(behind, n, progress.step, "evaluate.capability")
            both = ~np.isnan(capable) & ~np.isnan(counts[known])
            if both.any():
                metrics |= _gap(float(capable[both].mean() / n), float(counts[known][both].mean() / n))
            prefixes = sequences_of([(starts[i], start.prefix) for i, start in zip(known, behind, strict=True)])
            whole, _ = _prefix_sums(self._policy, prefixes, np.zeros(len(known), dtype=int))
            metrics["eval/right_prefix_logprob_nats"] = float(whole.mean())
        return metrics

    def _measured(self, task: Measures, step: int) -> Metrics:
        """The task's own figures of one response to each held-out problem, all ranks' together."""
        starts = [Start(problem=p) for group in ("heldout_hard", "heldout_easy") for p in self._groups[group]]
        first, last = self._ranks.bounds(len(starts))
        said = _responses(self._policy, starts[first:last], step, "evaluate.measured", greedy=False, first_row=first)
        responses = [(start.problem, response) for start, response in zip(starts[first:last], said, strict=True)]
        return self._ranks.on_main(task.measure, self._ranks.gather(responses))

    def _count_solved(
        self, starts: Sequence[Start], samples: int, step: int, stream: str, *, greedy: bool = False
    ) -> np.ndarray:
        """Solved samples of each start, over all ranks; NaN where the reward had no verdict."""
        first, last = self._ranks.bounds(len(starts))
        counts = {start.key: float("nan") for start in starts[first:last]}
        if counts:
            scored = self._reward.score(self._policy.rollout(
                starts[first:last], samples_per_start=samples, step=step, first_row=first * samples, stream=stream,
                greedy=greedy,
            ))  # fmt: skip
            for row, solved in enumerate(scored.solved.tolist()):
                key = scored.rollouts.sequences.start_of(row).key
                counts[key] = np.nan_to_num(counts[key]) + solved
        elif isinstance(self._task, ScoresAhead):
            self._task.ahead(())  # every rank does, where it scores and where it has nothing to score
        found = np.array(self._ranks.gather(list(counts.values())), dtype=float)
        if left_out := int(np.isnan(found).sum()):
            log.warning("%s at step %d: %d of %d problems have no verdict and are left out", stream, step, left_out,
                        len(found))  # fmt: skip
        return found


def _responses(
    policy: Policy, starts: Sequence[Start], step: int, stream: str, *,
    greedy: bool, samples: int = 1, first_row: int = 0,
) -> list[Tokens]:
    """Whole responses (prefix, continuation and what was given), a start's samples together; none for no start."""
    if not starts:
        return []
    rows = policy.rollout(
        starts, samples_per_start=samples, step=step, first_row=first_row, stream=stream, greedy=greedy
    ).sequences
    prefixes = [rows.starts[s].prefix for s in rows.start_index.tolist()]
    return [prefix + tokens for prefix, tokens in zip(prefixes, rows.all_tokens(), strict=True)]


def _prefix_sums(policy: Policy, sequences: Sequences, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(sum of log-probs of each row, of each row's first ``length`` tokens), nats, float64."""
    logprob, _ = policy.logprob(sequences)
    offsets = sequences.offsets.numpy()
    each = logprob.cpu().numpy().astype(np.float64)
    place = np.arange(len(each)) - np.repeat(offsets[:-1], np.diff(offsets))
    head = np.where(place < np.repeat(length, np.diff(offsets)), each, 0.0)
    # reduceat and not differences of a running sum: one row's -inf must not spoil the others.
    return np.add.reduceat(each, offsets[:-1]), np.add.reduceat(head, offsets[:-1])


def _behind(task: Task, problem: Problem, prefix: Tokens) -> Start:
    """The start behind ``prefix``, which holds sampled tokens only."""
    return Start(problem=problem, prefix=with_given(task, problem, prefix))


def _means(numbers: dict[str, np.ndarray]) -> Metrics:
    """The mean of what is known of each figure; a figure of which nothing is known is absent."""
    known = {name: x[~np.isnan(x.astype(float))] for name, x in numbers.items()}
    return {name: float(x.mean()) for name, x in known.items() if len(x)}


def _gap(capability: float, success: float) -> Metrics:
    return {"eval/capability": capability, "eval/capability_gap": capability - success}


def _contests(task: Task, problems: Sequence[Problem]) -> list[list[Start]]:
    """For each problem with alternatives: its right start, then the wrong ones."""
    if not isinstance(task, HasWrongPrefixes):
        return []
    contests = [(p, [task.right_prefix(p), *task.wrong_prefixes(p)]) for p in problems]
    return [[_behind(task, p, prefix) for prefix in prefixes] for p, prefixes in contests if len(prefixes) > 1]


def _contest_auc(value: ValueEstimator, contests: Sequence[Sequence[Start]]) -> float:
    """Mean over problems of the share of wrong prefixes that P(solved) puts below the right one, ties half."""
    success, _ = value.success([start for contest in contests for start in contest])
    parts = np.split(success, np.cumsum([len(contest) for contest in contests])[:-1])
    return float(np.mean([np.mean((part[1:] < part[0]) + 0.5 * (part[1:] == part[0])) for part in parts]))
