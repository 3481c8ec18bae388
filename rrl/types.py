"""The nouns of the house: one frozen type per stage, growing by wrapping.

``Sequences -> Rollouts -> Scored -> Estimated``: each stage holds the one before it, nothing is
filled in later and no field is optional. Axis letters: S starts, N rollouts (rows), A *sampled*
tokens of all rows end to end, P candidates. Prompt, prefix and padding never appear on axis A; they
exist only in ``rrl.policy.layout``. Log-probabilities and entropies are in nats, ages in steps.

``Problem`` and ``Start`` are in ``rrl.starts``. What a run remembers (``Attempt``, ``Prefix``,
``Candidates``, ``Plan``, ``Progress``) is in ``rrl.records``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from rrl.starts import Problem, Start, Tokens, prefix_key

Metrics = dict[str, float]

__all__ = [
    "Estimated", "Lesson", "Metrics", "Problem", "Rollouts", "Scored", "Sequences", "Start", "Tokens",
    "concat_sequences", "prefix_key", "rows_to_actions", "sequences_of",
]  # fmt: skip


def rows_to_actions(offsets: Tensor, index: Tensor) -> Tensor:
    """Positions on axis A of the rows ``index``, in that order. [[0,2,3], rows (1,0)] -> (2, 0, 1)."""
    lengths = (offsets[1:] - offsets[:-1])[index]
    first = torch.repeat_interleave(offsets[index] - (lengths.cumsum(0) - lengths), lengths)
    return first + torch.arange(int(lengths.sum()), dtype=torch.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Token rows that can be scored: rollouts, lessons, demonstrations, exact evaluation.

    ``actions[offsets[i]:offsets[i + 1]]`` is what row i did from ``starts[start_index[i]]``. Every
    row has at least one action. A start's rows share its context, which is stored once.
    """

    starts: tuple[Start, ...]
    start_index: Int64[Tensor, "N"]
    offsets: Int64[Tensor, "N1"]
    actions: Int64[Tensor, "A"]

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.start_index) + 1 or int(self.offsets[0]) != 0:
            raise ValueError("Sequences.offsets must be [N + 1] and begin with 0")
        if len(self.start_index) and int((self.offsets[1:] - self.offsets[:-1]).min()) < 1:
            raise ValueError("Sequences.offsets: every row needs at least one action")
        if int(self.offsets[-1]) != len(self.actions):
            raise ValueError(
                f"Sequences.actions has {len(self.actions)} tokens; offsets end at {int(self.offsets[-1])}"
            )

    @property
    def num_rows(self) -> int:
        return len(self.start_index)

    @property
    def lengths(self) -> Int64[Tensor, "N"]:
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def row_of(self) -> Int64[Tensor, "A"]:
        """The row that each action belongs to."""
        return torch.repeat_interleave(torch.arange(self.num_rows), self.lengths)

    def start_of(self, row: int) -> Start:
        return self.starts[int(self.start_index[row])]

    def tokens_of(self, row: int) -> Tokens:
        return tuple(self.actions[int(self.offsets[row]) : int(self.offsets[row + 1])].tolist())

    def rows(self, index: Int64[Tensor, "M"]) -> Sequences:
        """The rows ``index``, whole, in that order; unused starts are dropped."""
        return self.cut(index, rows_to_actions(self.offsets, index))

    def cut(self, index: Int64[Tensor, "M"], tokens: Int64[Tensor, "B"]) -> Sequences:
        """``rows`` for a caller that already has ``tokens``, their positions on axis A."""
        used, start_index = torch.unique(self.start_index[index], return_inverse=True)
        return Sequences(
            starts=tuple(self.starts[i] for i in used.tolist()),
            start_index=start_index,
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths[index].cumsum(0)]),
            actions=self.actions[tokens],
        )


def sequences_of(rows: Sequence[tuple[Start, Sequence[int]]]) -> Sequences:
    """Sequences with one start per row, from (start, actions) pairs."""
    lengths = torch.tensor([len(actions) for _, actions in rows], dtype=torch.int64)
    return Sequences(
        starts=tuple(start for start, _ in rows),
        start_index=torch.arange(len(rows), dtype=torch.int64),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        actions=torch.tensor([t for _, actions in rows for t in actions], dtype=torch.int64),
    )


def concat_sequences(parts: Sequence[Sequences]) -> Sequences:
    """All rows of all parts, in order."""
    shift = np.cumsum([0] + [len(p.starts) for p in parts])
    lengths = torch.cat([p.lengths for p in parts])
    return Sequences(
        starts=tuple(s for p in parts for s in p.starts),
        start_index=torch.cat([p.start_index + int(k) for p, k in zip(parts, shift, strict=False)]),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        actions=torch.cat([p.actions for p in parts]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """Sampled rows with what the sampler knew.

    behavior_logprob: of each action under the sampling distribution (temperature included).
    behavior_entropy: of that distribution.  ended: stop token met, or the task's exact length
    reached; False = cut by the length limit.
    """

    sequences: Sequences
    behavior_logprob: Float32[Tensor, "A"]
    behavior_entropy: Float32[Tensor, "A"]
    ended: Bool[Tensor, "N"]

    def rows(self, index: Int64[Tensor, "M"]) -> Rollouts:
        """The rows ``index``, whole, in that order."""
        return self.cut(index, rows_to_actions(self.sequences.offsets, index))

    def cut(self, index: Int64[Tensor, "M"], tokens: Int64[Tensor, "B"]) -> Rollouts:
        """``rows`` for a caller that already has ``tokens``, their positions on axis A."""
        return Rollouts(
            sequences=self.sequences.cut(index, tokens),
            behavior_logprob=self.behavior_logprob[tokens],
            behavior_entropy=self.behavior_entropy[tokens],
            ended=self.ended[index],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Rollouts with their verdicts. score: the task's number, any range.  solved: the task's yes or
    no.  reward: per token, what the return sums (the score on the last token, shaping anywhere)."""

    rollouts: Rollouts
    score: Float32[Tensor, "N"]
    solved: Bool[Tensor, "N"]
    reward: Float32[Tensor, "A"]

    def rows(self, index: Int64[Tensor, "M"]) -> Scored:
        """The rows ``index``, whole, in that order."""
        return self.cut(index, rows_to_actions(self.rollouts.sequences.offsets, index))

    def cut(self, index: Int64[Tensor, "M"], tokens: Int64[Tensor, "B"]) -> Scored:
        """``rows`` for a caller that already has ``tokens``, their positions on axis A."""
        return Scored(
            rollouts=self.rollouts.cut(index, tokens),
            reward=self.reward[tokens],
            score=self.score[index],
            solved=self.solved[index],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """Scored rows with the value estimator's opinion.

    value: expected return *before* that token; a row's first entry values its start.  success:
    calibrated P(solved) before that token, in [0, 1].  advantage: of that token.  target_return:
    what ``value`` should have been.
    """

    scored: Scored
    value: Float32[Tensor, "A"]
    success: Float32[Tensor, "A"]
    advantage: Float32[Tensor, "A"]
    target_return: Float32[Tensor, "A"]

    @property
    def rollouts(self) -> Rollouts:
        return self.scored.rollouts

    @property
    def sequences(self) -> Sequences:
        return self.scored.rollouts.sequences

    def rows(self, index: Int64[Tensor, "M"]) -> Estimated:
        tokens = rows_to_actions(self.sequences.offsets, index)
        return Estimated(
            scored=self.scored.cut(index, tokens),
            value=self.value[tokens],
            success=self.success[tokens],
            advantage=self.advantage[tokens],
            target_return=self.target_return[tokens],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A further loss term, - sum(weight * log pi): what converted prefixes teach."""

    sequences: Sequences
    weight: Float32[Tensor, "A"]
