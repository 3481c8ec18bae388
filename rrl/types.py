"""The nouns of the house: one frozen type per stage, growing by wrapping.

``Sequences -> Rollouts -> Scored -> Estimated``: each stage holds the one before it, nothing is
filled in later and no field is optional. Axis letters: S starts, N rollouts (rows), A *sampled*
tokens of all rows end to end, P candidates. Prompt, prefix and padding never appear on axis A; they
exist only in ``rrl.policy.layout``. Log-probabilities and entropies are in nats, ages in steps.

``Problem`` and ``Start`` are in ``rrl.starts``, ``Sequences`` in ``rrl.sequences``. What a run
remembers (``Attempt``, ``Prefix``, ``Candidates``, ``Plan``, ``Progress``) is in ``rrl.records``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from rrl.sequences import Sequences, concat_sequences, rows_to_actions, sequences_of
from rrl.starts import Problem, Start, Tokens, given, plain, prefix_key, sampled

Metrics = dict[str, float]

__all__ = [
    "Estimated", "Lesson", "Metrics", "Problem", "Rollouts", "Scored", "Sequences", "Start", "Tokens",
    "concat_rollouts", "concat_scored", "concat_sequences", "given", "plain", "prefix_key", "rows_to_actions",
    "sampled", "sequences_of",
]  # fmt: skip


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


def concat_rollouts(parts: Sequence[Rollouts]) -> Rollouts:
    """All rows of all parts, in order."""
    return Rollouts(
        sequences=concat_sequences([p.sequences for p in parts]),
        behavior_logprob=torch.cat([p.behavior_logprob for p in parts]),
        behavior_entropy=torch.cat([p.behavior_entropy for p in parts]),
        ended=torch.cat([p.ended for p in parts]),
    )


def concat_scored(parts: Sequence[Scored]) -> Scored:
    """All rows of all parts, in order."""
    return Scored(
        rollouts=concat_rollouts([p.rollouts for p in parts]),
        score=torch.cat([p.score for p in parts]),
        solved=torch.cat([p.solved for p in parts]),
        reward=torch.cat([p.reward for p in parts]),
    )
