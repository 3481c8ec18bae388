"""Doors of everything about replay: plain tokens and numbers, no tensor, no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from rrl.protocols.state import Stateful
from rrl.records import Attempt, Candidates, Harvest, Plan, Prefix, Progress
from rrl.types import Metrics, Problem, Start, Tokens


class Admission(Protocol):
    """Laws: a proposal is a strict beginning of the attempt's response (or of the canonical
    solution), cut at one of ``boundaries``, strictly longer than the start's prefix unless it says
    otherwise (backstep); only of unsolved attempts unless asked otherwise. ``root`` = the store's columns of the
    attempt's start (one candidate), None when fresh."""

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int
    ) -> list[Prefix]: ...


class Selection(Protocol):
    """Laws: finite, [P], highest first; pure in (candidates, progress, generator)."""

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray: ...


class Noise(Protocol):
    """What selections use of a numpy Generator; also what gives each of many problems' states its own numbers."""

    def random(self, size: int | tuple[int, ...], /) -> np.ndarray: ...
    def beta(self, a: np.ndarray, b: np.ndarray, /) -> np.ndarray: ...


@runtime_checkable
class RowwiseSelection(Protocol):
    """What a selection is besides, when where a state ranks hangs on its own columns and random numbers alone, so that
    one call can rank the states of many problems (``candidates.problem`` is then "").

    Laws: one call over many problems' states orders each problem's as a call a problem does; what is not in ``reads``
    changes nothing."""

    @property
    def reads(self) -> tuple[str, ...] | None:
        """Fields of ``Candidates`` that it ranks by; None where it needs a call a problem after all."""
        ...

    def rank(self, candidates: Candidates, progress: Progress, generator: Noise) -> np.ndarray: ...


class Trial(NamedTuple):
    """One state that was replayed in a step: its problem, t/T, how many rows began there, how many were solved."""

    problem: str
    depth_frac: float
    rows: int
    solved: int


@runtime_checkable
class LearningSelection(Stateful, Protocol):
    """What a selection is besides, when it learns from what became of its picks.

    Laws: ``rank`` is pure in its state too; the order of ``trials`` cannot matter."""

    def learn(self, trials: Sequence[Trial]) -> None:
        """Once a step, after its rollouts and before the next draw."""
        ...


class Schedule(Stateful, Protocol):
    """Laws: everything in [0, 1]; ``plan`` is pure; ``none`` reproduces plain PPO bit for bit.
    ``update`` runs once a step; only controllers do anything in it."""

    def plan(self, progress: Progress) -> Plan: ...
    def update(self, progress: Progress, harvest: Harvest) -> None: ...


class ProblemWeight(Protocol):
    """First stage of selection: weight >= 0 of each problem. root_success: e_p [P] in [0, 1];
    replays: how often each problem was replayed [P]."""

    def weight(self, root_success: np.ndarray, replays: np.ndarray) -> np.ndarray: ...


class Cut(Protocol):
    """Where a response may be cut. Laws: sorted ints t, 1 <= t < len(response), *before* token t;
    never inside a multi-byte character or special token; never after the answer is stated."""

    def boundaries(self, attempt: Attempt) -> list[int]: ...


class Verdict(NamedTuple):
    """What a filter says of a prefix: "keep", "drop" or "quarantine", and why."""

    action: str
    reason: str


class Filter(Protocol):
    """Law: what is not kept is never drawn, also after a reload."""

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict: ...


class Credit(Protocol):
    """What a converted prefix itself learns: weight >= 0 per row, before normalisation. Laws: 0
    unless solved from a replayed start; ``none`` returns 0."""

    def weight(self, attempt: Attempt, root_success: float, origin: str) -> float: ...
    def token_divisor(self) -> float:
        """d of L_conv: lessons are divided by (replayed rows x d)."""
        ...


class Replay(Stateful, Protocol):
    """The deep module: never sees a tensor or a model. ``draw`` and ``start`` are pure in (state,
    seed, step); ``rescore`` and ``observe`` are the only writers."""

    def rescore(
        self, success: Callable[[Sequence[Start]], tuple[np.ndarray, np.ndarray]], progress: Progress
    ) -> None: ...
    def draw(self, progress: Progress, num_starts: int) -> list[Start]: ...
    def start(self, problem: Problem, progress: Progress) -> Start: ...
    def converted(self, problem: Problem) -> Tokens | None: ...
    def lessons(self, attempts: Sequence[Attempt]) -> list[tuple[Start, Tokens, float]]: ...
    def observe(self, attempts: Sequence[Attempt], progress: Progress, *, warm_up: bool = False) -> Metrics: ...
    def rows(self) -> list[dict[str, Any]]:
        """Every stored state as plain values, for tables and reports."""
        ...


@runtime_checkable
class Growing(Protocol):
    """What a replay is besides, when a checkpoint may share files with those before it.

    Law: what a checkpoint of ``growing_state`` gives back is ``state_dict``, to the bit."""

    def growing_state(self, *, kept: int) -> dict[str, Any]: ...
