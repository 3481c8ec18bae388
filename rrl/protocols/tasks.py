"""Doors of what is asked, scored, measured and logged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from rrl.protocols.learning import Policy
from rrl.protocols.state import Stateful
from rrl.records import Progress
from rrl.types import Metrics, Problem, Rollouts, Scored, Start, Tokens


class Outcome(NamedTuple):
    """A task's verdict on one whole response."""

    score: float
    solved: bool


class Task(Protocol):
    """Problems, score and ``solved`` of one task.

    Law: solutions, right prefixes and demonstrations are sampled tokens alone; ``rrl.environment.with_given`` adds what
    an environment says between them. ``score`` and ``steps`` meet responses with given tokens, marked."""

    name: str
    fingerprint: str
    """Stable hash of every argument and the seed: what caches are keyed by."""
    score_range: tuple[float, float]
    vocab_size: int
    pad: int

    def train_problems(self) -> list[Problem]: ...
    def eval_problems(self) -> list[Problem]: ...
    def score(self, problem: Problem, response: Tokens) -> Outcome: ...
    def right_prefix(self, problem: Problem) -> Tokens:
        """The prefix after which the skill alone suffices (oracle, capability gap); () if unknown."""
        ...

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:
        """(problem, response) pairs for the warm start; noisy on purpose where the task says so."""
        ...

    def steps(self, problem: Problem, response: Tokens) -> list[int]:
        """Boundaries t between the reasoning steps of a response (the task's default cut)."""
        ...

    def decode(self, tokens: Sequence[int]) -> str: ...
    def encode(self, text: str) -> Tokens: ...


@runtime_checkable
class Environment(Protocol):
    """What a task is besides, when it speaks inside a response: a test's status, a tool's output.

    Law: ``observe`` is pure and says at most ``max_given`` tokens over a whole response."""

    max_given: int

    def observe(self, problem: Problem, response: Tokens) -> Tokens:
        """Ids said after ``response`` (given tokens marked, the last one sampled), before the next is sampled."""
        ...


@runtime_checkable
class ScoresAhead(Protocol):
    """What a task is besides, when many responses are scored sooner together than one by one.

    Law: ``ahead`` changes no score but by rounding, only how soon the next ``score`` of each response has it; scores do
    not depend on what was asked before."""

    def ahead(self, responses: Sequence[tuple[Problem, Tokens]]) -> None: ...


@runtime_checkable
class Relative(Stateful, Protocol):
    """What a task is besides, when its verdicts are relative to the policy that training begins from.

    Law: what it measured on that policy is its state, and a restored state is measured no more."""

    def relative_to(self, reference: Policy) -> None: ...


@runtime_checkable
class Measures(Protocol):
    """What a task is besides, when responses have more to them than a score: figures of held-out ones."""

    def measure(self, responses: Sequence[tuple[Problem, Tokens]]) -> Metrics: ...


@runtime_checkable
class JudgesBeginnings(Protocol):
    """What a task is besides, when a beginning of a response can be judged by itself, whatever became of it."""

    def standing(self, states: Sequence[Start]) -> np.ndarray:
        """[S] scores of the prefixes behind their prompts, in the task's score range."""
        ...

    def harm_of(self, texts: Sequence[str]) -> np.ndarray:
        """[S] numbers, higher = more harmful."""
        ...


class PassedTests(NamedTuple):
    """kind: "solved", or how the first failed test failed ("wrong", "too_slow", "runtime_error", "compile_error").
    passed, total: tests of the problem; those that were not run count as not passed."""

    kind: str
    passed: int
    total: int


@runtime_checkable
class RunsPrograms(Protocol):
    """What a task is besides, when a response is a program that has to pass tests."""

    def tests(self, problem: Problem, response: Tokens) -> PassedTests | None:
        """How a response did; None where no test was run, because it was cut."""
        ...


class TextCodec(Protocol):
    """Text to token ids and back. Law: equal fingerprints give equal ids for every text."""

    fingerprint: str
    vocab_size: int
    pad: int
    stop: Tokens
    """Ids that end a response; the first one stands behind demonstrations."""
    reserved: tuple[str, ...]
    """Names of special tokens: a problem's text must not hold them."""

    def prompt(self, text: str) -> Tokens:
        """What a policy reads before it answers ``text``: template, system's message and all."""
        ...

    def conversation(self, transcript: str, turns: Sequence[tuple[str, str]]) -> Tokens:
        """The same after several turns, (role, text) each, of which ``transcript`` is the plain form."""
        ...

    def encode(self, text: str) -> Tokens: ...
    def decode(self, tokens: Sequence[int]) -> str: ...


@runtime_checkable
class SpeltTask(Protocol):
    """A task whose tokens are a codec's, and not symbols of its own: a pretrained policy has to read the same ones."""

    codec: TextCodec


class Problems(Protocol):
    """Fresh problems. Law: pure in (seed, step); an epoch is a permutation f(seed, epoch)."""

    def draw(self, num: int, progress: Progress, stream: str = "problems") -> list[Start]: ...


class Reward(Protocol):
    """Laws: order preserved; a reward that fails drops its rows and their group, counted."""

    @property
    def dropped(self) -> int:
        """This rank's rows that the last ``score`` left out because a reward failed."""
        ...

    def score(self, rollouts: Rollouts) -> Scored: ...


class Recall(Stateful, Protocol):
    """Whole stored answers appended between rollout and score, and the memory they come from.

    Laws: ``none`` returns its argument; rows sampled now keep their places, what is appended comes after them, marked
    ``Start.recalled``, with the log-probs it was sampled with; both verbs are pure in (memory, seed, step); only rows
    from a bare prompt are remembered, all ranks remember the same, and their order cannot matter."""

    def starts(self, progress: Progress, num_starts: int) -> list[Start]:
        """Bare starts, at most ``num_starts``, that shall be sampled now because answers to them are stored."""
        ...

    def recall(self, rollouts: Rollouts, progress: Progress) -> Rollouts:
        """This rank's rows and behind them stored answers to their problems; after ``starts`` of the same step."""
        ...

    def remember(self, sampled: Scored, progress: Progress) -> Metrics:
        """Take in this rank's rows of the step, none of them recalled; every rank calls it."""
        ...


class Evaluator(Protocol):
    """Law: bare prompts only, own random streams, never learns, never counted in the token budget."""

    def when_due(self, progress: Progress) -> Metrics: ...
    def now(self, progress: Progress) -> Metrics:
        """Evaluate whether it is due or not."""
        ...


class Tracker(Protocol):
    """Laws: a name that is not in ``rrl.metrics.CATALOGUE`` raises; a backend's failure is logged
    once and never stops training."""

    def log(self, progress: Progress, metrics: Metrics) -> None: ...
    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None: ...
    def artifact(self, path: Path, kind: str) -> None: ...
    def close(self, status: str) -> None: ...
