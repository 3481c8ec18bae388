"""The doors of the house, with their laws. Folder = config group = protocol = test folder.

A class satisfies a door by its shape; nothing here is inherited. Constructors take keyword
arguments only, without defaults: numbers come from the option's YAML, everything else from the
runtime pool that ``rrl.build`` offers *by parameter name*: ``seed`` (int), ``ranks``, ``task``,
``policy``, ``reference`` (frozen copy of the warm-started policy), ``problems``, ``value``,
``objective``, ``output_dir`` (Path), ``resolved_config`` (dict).
Every law below is a contract test over every YAML of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from rrl.records import Attempt, Candidates, Plan, Prefix, Progress
from rrl.types import Estimated, Lesson, Metrics, Problem, Rollouts, Scored, Sequences, Start, Tokens

# (logprob [C], entropy [C], index [C] into axis A) -> (loss scalar, d loss/d logprob [C], d loss/d entropy [C])
TokenLoss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class Stateful(Protocol):
    """Law: save, load, continue = never stopped. Leaves are tensors, numpy arrays, str, int, float,
    bool, None, lists and str-keyed dicts of these."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Trunk(Stateful, Protocol):
    """A network that reads token rows and gives hidden states; what a value estimator stands on.
    A shared trunk has no state of its own, and no parameters where it is detached."""

    width: int

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...
    def hidden(self, sequences: Sequences) -> Tensor:
        """[A, width]: the state *before* each action (a row's first: the end of its context)."""
        ...

    def start_hidden(self, starts: Sequence[Start]) -> Tensor:
        """[S, width]: the state at the end of each start's context."""
        ...


class Policy(Stateful, Protocol):
    """Law: ``logprob`` of a fresh rollout equals its ``behavior_logprob`` within dtype tolerance;
    same (seed, stream, step, global row), same tokens, however batched."""

    def rollout(
        self, starts: Sequence[Start], *, samples_per_start: int, step: int,
        first_row: int = 0, stream: str = "rollout", greedy: bool = False,
    ) -> Rollouts:
        """Rows in start order, a start's samples together; row r uses noise of global row first_row + r."""
        ...

    def logprob(self, sequences: Sequences) -> tuple[Tensor, Tensor]:
        """(log-prob [A] of each action, entropy [A]) of the sampling distribution; no gradient, float32."""
        ...

    def loss(self, sequences: Sequences, token_loss: TokenLoss) -> tuple[Tensor, Metrics]:
        """Scalar whose ``backward()`` gives token_loss's gradient; prefix and prompt are context only."""
        ...

    def trunk(self, *, init: str, num_layers: int, seed: int) -> Trunk:
        """A network of this policy's family: init "scratch" (own weights) or "policy" (a copy of its
        weights); num_layers 0 = as many as the policy."""
        ...

    def shared_trunk(self, *, detach: bool) -> Trunk:
        """The policy's own trunk, for a head on it; detach stops the head's gradient there."""
        ...

    def frozen(self) -> Policy:
        """A copy that never learns: reference of a KL term."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the architecture or the temperature does, not with the weights: what caches are keyed by."""
        ...

    def parameters(self) -> Iterator[torch.nn.Parameter]: ...
    def decode(self, tokens: Sequence[int]) -> str: ...
    def encode(self, text: str) -> Tokens: ...


class ValueEstimator(Stateful, Protocol):
    """Owns the advantage. Laws: critic-free estimators give zero advantage for all-equal rewards, a
    critic's advantage of a row depends on that row alone; finite for N = 1; success in [0, 1]."""

    def estimate(self, scored: Scored) -> Estimated: ...
    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(mean [S] of calibrated P(solved) in [0, 1], standard deviation [S], 0 where there is none)."""
        ...

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics: ...


class Admission(Protocol):
    """Laws: a proposal is a strict beginning of the attempt's response (or of the canonical
    solution), cut at one of ``boundaries``, strictly longer than the start's prefix unless it says
    otherwise (backstep); only of unsolved attempts unless asked otherwise. ``root`` = the store's columns of the
    attempt's start (one candidate), None when fresh."""

    def propose(self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int) -> list[Prefix]: ...


class Selection(Protocol):
    """Laws: finite, [P], highest first; pure in (candidates, progress, generator)."""

    def rank(self, candidates: Candidates, progress: Progress, generator: np.random.Generator) -> np.ndarray: ...


class Schedule(Stateful, Protocol):
    """Laws: everything in [0, 1]; ``plan`` is pure; ``none`` reproduces plain PPO bit for bit.
    ``update`` runs once a step; only controllers do anything in it."""

    def plan(self, progress: Progress) -> Plan: ...
    def update(self, progress: Progress) -> None: ...


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


class Recall(Protocol):
    """Whole stored answers appended between rollout and score. Law: ``none`` returns its argument."""

    def recall(self, rollouts: Rollouts) -> Rollouts: ...


class Outcome(NamedTuple):
    """A task's verdict on one whole response."""

    score: float
    solved: bool


class Task(Protocol):
    """Problems, score and ``solved`` of one task."""

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


class Objective(Protocol):
    """Laws: gradient sign on two tokens; (d_logprob, d_entropy) equal autograd in float64."""

    @property
    def clip_range(self) -> tuple[float, float]:
        """Ratios pi / pi_behaviour that count as clipped in metrics lie outside; (0, inf) = never."""
        ...

    def bind(self, estimated: Estimated, share: float, num_tokens: int, num_rows: int) -> TokenLoss:
        """The loss of these rows. It owns the mean: divide by ``num_tokens`` (or ``num_rows``), the
        counts of the whole mini-batch over all ranks, and multiply by ``share``."""
        ...


class Learner(Stateful, Protocol):
    """terms: (rows, share) for (fresh, 1 - rho), (replayed, rho); never joint whitening; each
    mini-batch holds its part of every term and of the lesson."""

    def update(self, terms: Sequence[tuple[Estimated, float]], lesson: Lesson | None, progress: Progress) -> Metrics: ...


class Evaluator(Protocol):
    """Law: bare prompts only, own random streams, never learns, never counted in the token budget."""

    def when_due(self, progress: Progress) -> Metrics: ...
    def now(self, progress: Progress) -> Metrics:
        """Evaluate whether it is due or not."""
        ...


class WarmStart(Protocol):
    """What happens to the policy before RL (supervised fine-tuning on demonstrations, or nothing)."""

    def prepare(self, policy: Policy) -> Metrics: ...


class Replay(Stateful, Protocol):
    """The deep module: never sees a tensor or a model. ``draw`` and ``start`` are pure in (state,
    seed, step); ``rescore`` and ``observe`` are the only writers."""

    def rescore(self, success: Callable[[Sequence[Start]], tuple[np.ndarray, np.ndarray]], progress: Progress) -> None: ...
    def draw(self, progress: Progress, num_starts: int) -> list[Start]: ...
    def start(self, problem: Problem, progress: Progress) -> Start: ...
    def converted(self, problem: Problem) -> Tokens | None: ...
    def lessons(self, attempts: Sequence[Attempt]) -> list[tuple[Start, Tokens, float]]: ...
    def observe(self, attempts: Sequence[Attempt], progress: Progress, *, warm_up: bool = False) -> Metrics: ...
    def rows(self) -> list[dict[str, Any]]:
        """Every stored state as plain values, for tables and reports."""
        ...


class Tracker(Protocol):
    """Laws: a name that is not in ``rrl.metrics.CATALOGUE`` raises; a backend's failure is logged
    once and never stops training."""

    def log(self, progress: Progress, metrics: Metrics) -> None: ...
    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None: ...
    def artifact(self, path: Path) -> None: ...
    def close(self, status: str) -> None: ...
