"""Stand-ins that only a law needs; config nodes may name the filters by ``_target_``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rrl.protocols import Outcome, Policy, Task, Verdict
from rrl.records import Attempt, Prefix
from rrl.types import Problem, Rollouts, Sequences, Start, Tokens


class Refusing:
    """A filter that says ``action`` of prefixes with an even sum of tokens."""

    def __init__(self, *, action: str) -> None:
        self._action = action

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:
        return Verdict("keep", "") if sum(prefix.tokens) % 2 else Verdict(self._action, "even")


class ThreeOfFour:
    """A second verifier that finds three of four responses right, by their tokens."""

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        return Outcome(1.0, True) if sum(response) % 4 else Outcome(0.0, False)


class FailingTask:
    """``task`` whose scorer raises for one problem and gives NaN for another."""

    def __init__(self, task: Task, *, raises: str, nan: str) -> None:
        self._task, self._raises, self._nan = task, raises, nan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        if problem.id == self._raises:
            raise RuntimeError("sandbox lost")
        return Outcome(float("nan"), False) if problem.id == self._nan else self._task.score(problem, response)


class TextTask:
    """``task`` whose tokens read as text with lines, sentences and numbered steps, for the cuts that look at text, and
    whose beginnings are judged, for the filters that ask: one in seven is poor, one in four harmful."""

    _PIECES = ("word ", "it ends. ", "\n\n", "x = 1\n", "Step 2: ")
    score_range = (-4.0, 4.0)

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self._PIECES[token % len(self._PIECES)] for token in tokens)

    def standing(self, states: Sequence[Start]) -> np.ndarray:
        return np.array([sum(state.prefix) % 7 - 4.0 for state in states])

    def harm_of(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([1000.0 if len(text) % 4 == 0 else 0.0 for text in texts])


class WatchedPolicy:
    """``policy`` that writes down what was sampled from and what was scored."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.sampled: list[tuple[str, Start]] = []
        self.scored: list[Start] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def rollout(self, starts: Sequence[Start], **how: Any) -> Rollouts:
        self.sampled += [(how.get("stream", "rollout"), start) for start in starts]
        return self._policy.rollout(starts, **how)

    def logprob(self, sequences: Sequences) -> Any:
        self.scored += sequences.starts
        return self._policy.logprob(sequences)


class Notes:
    """A tracker that keeps its calls; ``broken`` raises at each of them."""

    def __init__(self, *, broken: bool = False) -> None:
        self.calls: list[str] = []
        self._broken = broken

    def _note(self, verb: str) -> None:
        self.calls.append(verb)
        if self._broken:
            raise OSError("disk full")

    def log(self, progress: Any, metrics: Any) -> None:
        self._note("log")

    def table(self, name: str, rows: Any) -> None:
        self._note("table")

    def artifact(self, path: Any, kind: str) -> None:
        self._note("artifact")

    def close(self, status: str) -> None:
        self._note("close")
