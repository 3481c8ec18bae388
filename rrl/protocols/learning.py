"""Doors of the rooms that hold tensors: policy, value, objective, learner, warm start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rrl.protocols.state import Stateful
from rrl.records import Progress
from rrl.types import Estimated, Lesson, Metrics, Rollouts, Scored, Sequences, Start, Tokens

# (logprob [C], entropy [C], index [C] into axis A) -> (loss scalar, d loss/d logprob [C], d loss/d entropy [C])
TokenLoss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


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
        self,
        starts: Sequence[Start],
        *,
        samples_per_start: int,
        step: int,
        first_row: int = 0,
        stream: str = "rollout",
        greedy: bool = False,
        row_numbers: np.ndarray | None = None,
    ) -> Rollouts:
        """Rows in start order, a start's samples together; row r uses noise of global row first_row + r, or of
        ``row_numbers[r]`` where these are given: what a row says then does not depend on its place."""
        ...

    def logprob(self, sequences: Sequences) -> tuple[Tensor, Tensor]:
        """(log-prob [A] of each action, entropy [A]) of the sampling distribution; no gradient, float32."""
        ...

    def loss(
        self, sequences: Sequences, token_loss: TokenLoss, *, whole_rows: bool = False
    ) -> tuple[Tensor, Metrics]:
        """Scalar whose ``backward()`` gives token_loss's gradient; prefix and prompt are context only.
        token_loss may be called for a part of the tokens at a time, unless ``whole_rows``."""
        ...

    def trunk(self, *, init: str, num_layers: int, seed: int) -> Trunk:
        """A network of this policy's family: init "scratch" (own weights), "policy" (a copy of its
        weights) or, where the backbone can load one, a model's name or folder; num_layers 0 = as many as there."""
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

    min_samples_per_start: int
    """Rows of one start below which there is nothing to learn; read before anything is built."""

    @property
    def spent_tokens(self) -> int:
        """Tokens that it has sampled so far in this process; 0 for ever where it only reads. The loop adds what
        estimating and re-scoring sampled to the run's budget."""
        ...

    def estimate(self, scored: Scored) -> Estimated: ...
    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(mean [S] of calibrated P(solved) in [0, 1], standard deviation [S], 0 where there is none)."""
        ...

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics: ...


class Objective(Protocol):
    """Laws: gradient sign on two tokens; (d_logprob, d_entropy) equal autograd in float64."""

    whole_rows: bool
    """Its token loss needs all tokens of a row in one call (sequence ratios)."""

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

    def update(
        self, terms: Sequence[tuple[Estimated, float]], lesson: Lesson | None, progress: Progress
    ) -> Metrics: ...


class WarmStart(Protocol):
    """What happens to the policy before RL (supervised fine-tuning on demonstrations, or nothing)."""

    def prepare(self, policy: Policy) -> Metrics: ...
