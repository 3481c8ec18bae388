"""A made-up stream of attempts: what a Replay sees of a run, as plain numbers and without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rrl import rng
from rrl.protocols import Replay, Task
from rrl.records import Attempt, Progress, Signals
from rrl.types import Metrics, Problem, Start, Tokens, prefix_key

NUM_STEPS, WARM_UP, NUM_STARTS = 12, 3, 24
_VOCAB = 20


def problems_of(task: Task) -> list[Problem]:
    """Eight problems of the task with room for long responses, which end where they like."""
    train = task.train_problems()
    return [replace(p, max_response=10, stop=(), exact_length=False) for p in (*train[:6], *train[-2:])]


def first_progress(num_steps: int = NUM_STEPS) -> Progress:
    return Progress(
        step=-WARM_UP, sampled_tokens=0, token_budget=(num_steps + WARM_UP) * 1000, history=(), first=None, peak=None
    )


def next_progress(progress: Progress) -> Progress:
    """1,000 tokens later, with an exploration that falls and rises again."""
    if progress.step < 0:
        return progress.after(tokens=1000, signals=None)
    wave = 0.5 + 0.5 * float(np.cos(progress.step / 3))
    signals = Signals(entropy=wave, unique_frac=wave, new_solves=10 * wave, solve_rate=0.2 + 0.1 * wave)
    return progress.after(tokens=1000, signals=signals)


def attempts_at(step: int, problems: Sequence[Problem], replayed: Sequence[Start]) -> list[Attempt]:
    """Fresh attempts at random problems, then those from the replayed starts.

    The last problem is mostly solved from the bare prompt, so that it retires; problem 0 is never solved, so that
    its states fall asleep; elsewhere a replayed start is solved one time in three.
    """
    generator = rng.generator(0, "contract.stream", step)
    fresh = [Start(problem=problems[i]) for i in generator.integers(len(problems), size=NUM_STARTS - len(replayed))]
    attempts = []
    for start in (*fresh, *replayed):
        place = problems.index(start.problem)
        room = start.problem.max_response - len(start.prefix)
        tokens = tuple(generator.integers(5, _VOCAB, size=generator.integers(1, room + 1)).tolist())
        chance = 0.0 if place == 0 else 0.9 if place == len(problems) - 1 else 0.35 if start.replayed else 0.05
        solved = bool(generator.random() < chance)
        attempts.append(Attempt(
            start=start, tokens=tokens, value=generator.random(len(tokens)).astype(np.float32),
            entropy=generator.random(len(tokens)).astype(np.float32), score=float(solved), solved=solved, ended=True,
        ))  # fmt: skip
    return attempts


def success(starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
    """A P(solved) that is a function of the start alone."""
    digests = [int(prefix_key(s.problem.id, s.prefix), 16) for s in starts]
    return np.array([d % 997 / 997 for d in digests]), np.array([d % 11 / 100 for d in digests])


@dataclass
class Step:
    """What one step drew, attempted, credited and measured."""

    progress: Progress
    drawn: list[Start]
    attempts: list[Attempt]
    lessons: list[tuple[Start, Tokens, float]] = field(default_factory=list)
    metrics: Metrics = field(default_factory=dict)


def nothing(replay: Any, step: Step) -> None:
    return None


def feed(
    replay: Replay,
    problems: Sequence[Problem],
    progress: Progress,
    *,
    num_steps: int = 99,
    after_draw: Callable[[Any, Step], None] = nothing,
    shuffle: bool = False,
) -> tuple[list[Step], Progress]:
    """Run the loop's verbs until the budget is spent, or for ``num_steps``; the steps and where it ended."""
    steps = []
    while not progress.finished and len(steps) < num_steps:
        step = Step(progress, [], [])
        if progress.step >= 0:
            replay.rescore(success, progress)
            step.drawn = replay.draw(progress, NUM_STARTS)
        step.attempts = attempts_at(progress.step, problems, step.drawn)
        after_draw(replay, step)
        if shuffle:
            order = rng.generator(1, "contract.shuffle", progress.step).permutation(len(step.attempts))
            step.attempts = [step.attempts[i] for i in order]
        step.lessons = replay.lessons(step.attempts) if progress.step >= 0 else []
        step.metrics = replay.observe(step.attempts, progress, warm_up=progress.step < 0)
        steps.append(step)
        progress = next_progress(progress)
    return steps, progress


def same(left: Any, right: Any) -> bool:
    """Deep equality of states that hold arrays."""
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    return bool(left == right)
