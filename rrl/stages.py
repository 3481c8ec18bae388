"""From tensors to plain numbers and back: what the loop hands to Replay and to the learner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rrl.ranks import Ranks
from rrl.records import Attempt
from rrl.types import Estimated, Lesson, Rollouts, Scored, Sequences, Start, Tokens, sampled, sequences_of


class NonFiniteReward(FloatingPointError):
    """A reward is NaN or infinite; nothing has been learned from it, nor kept."""


class NonFiniteLogprob(FloatingPointError):
    """The sampler's log-prob of a token is NaN or infinite: its policy is broken, or cannot say what it said."""


def refuse_broken_sampler(rollouts: Rollouts, ranks: Ranks, step: int, first_row: int) -> None:
    """Raise NonFiniteLogprob on every rank if any behaviour log-prob or entropy of any rank is not finite.

    first_row: number of this rank's first row in the step.
    """
    bad = ~(rollouts.behavior_logprob.isfinite() & rollouts.behavior_entropy.isfinite())
    if shown := _rows_with(bad, rollouts.sequences, ranks, first_row):
        raise NonFiniteLogprob(
            f"the sampler's log-prob is not finite at step {step}: {shown}; the policy's weights are, or its logits "
            "overflow (policy.dtype, policy.temperature)"
        )


def refuse_nonfinite(scored: Scored, ranks: Ranks, step: int, first_row: int) -> None:
    """Raise NonFiniteReward on every rank if any reward of any rank is not finite.

    first_row: number of this rank's first row in the step.
    """
    if shown := _rows_with(~scored.reward.isfinite(), scored.rollouts.sequences, ranks, first_row):
        raise NonFiniteReward(
            f"the reward is not finite at step {step}: {shown}; the reward model or task that `reward` names "
            "gave NaN or an infinity"
        )


class NothingScored(FloatingPointError):
    """The reward has a number for no row of a step: what it calls is broken, and more steps would only cost."""


class NonFiniteEstimate(FloatingPointError):
    """A value, P(solved) or advantage is NaN or infinite: the estimator has diverged."""


def refuse_diverged_value(estimated: Estimated, ranks: Ranks, step: int, first_row: int) -> None:
    """Raise NonFiniteEstimate on every rank if any estimate of any rank is not finite.

    first_row: number of this rank's first row in the step.
    """
    bad = ~(estimated.value.isfinite() & estimated.success.isfinite() & estimated.advantage.isfinite())
    if shown := _rows_with(bad, estimated.sequences, ranks, first_row):
        raise NonFiniteEstimate(
            f"the value's estimate is not finite at step {step}: {shown}; the estimator has diverged; lower "
            "value.lr or value.grad_norm"
        )


def _rows_with(bad: Bool[Tensor, "A"], sequences: Sequences, ranks: Ranks, first_row: int) -> str:
    """All ranks' rows with a bad token, in words; "" where there is none."""
    rows = torch.unique(sequences.row_of[bad]).tolist()
    found = ranks.gather([(first_row + row, sequences.start_of(row).problem.id) for row in rows])
    shown = ", ".join(f"row {row} of problem {name!r}" for row, name in found[:8])
    return shown + (", ..." if len(found) > 8 else "")


def attempts_of(estimated: Estimated) -> list[Attempt]:
    """One ``Attempt`` per row, in row order. Attempt.value is P(solved), not the expected return."""
    sequences, rollouts = estimated.sequences, estimated.rollouts
    if len(sequences.given):
        return [_attempt_with_given(estimated, i) for i in range(sequences.num_rows)]
    offsets = sequences.offsets.tolist()
    actions = sequences.actions.tolist()
    success, entropy = estimated.success.numpy(), rollouts.behavior_entropy.numpy()
    scores, solved, ended = estimated.scored.score.tolist(), estimated.scored.solved.tolist(), rollouts.ended.tolist()
    return [
        Attempt(
            start=sequences.starts[s],
            tokens=tuple(actions[a:b]),
            value=success[a:b],
            entropy=entropy[a:b],
            score=scores[i],
            solved=solved[i],
            ended=ended[i],
        )
        for i, (s, a, b) in enumerate(zip(sequences.start_index.tolist(), offsets, offsets[1:], strict=False))
    ]


def _attempt_with_given(estimated: Estimated, row: int) -> Attempt:
    """Values carry across what was given: it holds the value of the action that comes next, and entropy 0."""
    sequences, rollouts, scored = estimated.sequences, estimated.rollouts, estimated.scored
    first, last = int(sequences.offsets[row]), int(sequences.offsets[row + 1])
    tokens = sequences.tokens_of(row)
    own = np.asarray(tokens) >= 0
    number = np.cumsum(own)  # of the actions up to here: for a given token, the place of the next action
    success, entropy = estimated.success[first:last].numpy(), rollouts.behavior_entropy[first:last].numpy()
    return Attempt(
        start=sequences.start_of(row),
        tokens=tokens,
        value=success[np.where(own, number - 1, number)],
        entropy=np.where(own, entropy[number - 1], np.float32(0.0)),
        score=float(scored.score[row]),
        solved=bool(scored.solved[row]),
        ended=bool(rollouts.ended[row]),
    )


FRESH, REPLAYED, RECALLED = range(3)


def origins_of(sequences: Sequences) -> Int64[Tensor, "N"]:
    """Where each row comes from: FRESH and REPLAYED rows were sampled now, RECALLED ones are stored answers."""
    origin = [RECALLED if s.recalled else REPLAYED if s.replayed else FRESH for s in sequences.starts]
    return torch.tensor(origin, dtype=torch.int64)[sequences.start_index]


def sampled_now(estimated: Estimated) -> Estimated:
    """Its rows less the recalled ones; the very object where there is none."""
    if not any(s.recalled for s in estimated.sequences.starts):
        return estimated
    return estimated.rows(torch.nonzero(origins_of(estimated.sequences) != RECALLED).flatten())


def terms_of(
    estimated: Estimated, replayed_share: float, recalled_share: float = 0.0
) -> list[tuple[Estimated, float]]:
    """The learner's terms: fresh rows at (1 - rho)(1 - kappa), replayed at rho (1 - kappa), recalled at kappa.

    A term is there on every rank when its share is not 0, also where it has no row here; recalled rows come last.

    Args:
      estimated: this rank's rows.
      replayed_share: rho, of the rows sampled now, over all ranks.
      recalled_share: kappa, of all rows, over all ranks.
    """
    if replayed_share == recalled_share == 0.0:
        return [(estimated, 1.0)]
    now, origin = 1.0 - recalled_share, origins_of(estimated.sequences)
    shares = {FRESH: (1.0 - replayed_share) * now, REPLAYED: replayed_share * now, RECALLED: recalled_share}
    return [(estimated.rows(torch.nonzero(origin == o).flatten()), share) for o, share in shares.items() if share]


def lesson_of(lessons: Sequence[tuple[Start, Tokens, float]]) -> Lesson | None:
    """Lesson rows from (bare start, prefix tokens, weight of each token); None where there are none."""
    if not lessons:
        return None
    lengths = torch.tensor([len(sampled(tokens)) for _, tokens, _ in lessons])
    weight = torch.tensor([w for _, _, w in lessons], dtype=torch.float32)
    return Lesson(
        sequences=sequences_of([(start, tokens) for start, tokens, _ in lessons]),
        weight=torch.repeat_interleave(weight, lengths),
    )
