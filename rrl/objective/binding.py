"""What every objective does the same way: weigh its tokens, and turn a surrogate into a token loss.

An objective is then one pure function of a token's log-probs and advantage; nothing here knows which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from rrl.protocols import TokenLoss
from rrl.types import Estimated, Sequences

Aggregation = Literal["token_mean", "sequence_mean", "constant"]

# (logprob [C], behaviour logprob [C], advantage [C], index [C] into axis A) -> (surrogate [C], slope [C]);
# slope_u = d (sum of the row's surrogates)/d logprob_u, which is what a weight that is constant in a row needs.
Surrogate = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

NEVER_CLIPPED = (0.0, float("inf"))


def check_aggregation(aggregation: str) -> None:
    """Raise ValueError for an unknown aggregation."""
    if aggregation not in get_args(Aggregation):
        known = ", ".join(get_args(Aggregation))
        raise ValueError(f"objective.aggregation is {aggregation!r}; expected one of: {known}")


def token_weight(estimated: Estimated, aggregation: str, share: float, num_tokens: int, num_rows: int) -> Tensor:
    """Weight of each token's surrogate, constant inside a row.

    token_mean: share / num_tokens (DAPO, 2503.14476).  sequence_mean: share / (num_rows T_row), T_row the row's
    sampled tokens (GRPO, 2402.03300, eq. 3).  constant: share / (num_rows L), L the longest response that the row's
    problem allows, so that a long row is not discounted (Dr. GRPO, 2503.20783).

    Args:
      estimated: this rank's rows of one stream in one mini-batch.
      aggregation: one of the three.
      share: of that stream in the loss, [0, 1].
      num_tokens, num_rows: of that stream in the mini-batch, over all ranks.
    Returns:
      [A] in float64, cast at use: 1/n rounded early would differ between dtypes of the policy.
    """
    sequences, rows = estimated.sequences, max(num_rows, 1)
    if aggregation == "token_mean":
        return torch.full((len(estimated.advantage),), share / max(num_tokens, 1), dtype=torch.float64)
    if aggregation == "sequence_mean":
        return torch.repeat_interleave(share / (rows * sequences.lengths.double()), sequences.lengths)
    room = torch.tensor([s.problem.max_response for s in sequences.starts], dtype=torch.float64)
    return torch.repeat_interleave(share / (rows * room[sequences.start_index]), sequences.lengths)


def bound(estimated: Estimated, weight: Tensor, entropy_coef: float, surrogate: Surrogate) -> TokenLoss:
    """The token loss - sum_u weight_u surrogate_u - entropy_coef sum_u weight_u H_u.

    Args:
      estimated: the rows that ``weight`` [A] and the token loss's index belong to.
      weight: of each token.
      entropy_coef: weight of the token entropy.
      surrogate: what is to be maximised, and its slope.
    """
    advantage, behavior_logprob = estimated.advantage, estimated.rollouts.behavior_logprob

    def token_loss(logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        at = index.to(advantage.device)
        w, a, old = (x[at].to(logprob) for x in (weight, advantage, behavior_logprob))
        gain, slope = surrogate(logprob, old, a, at)
        loss = -(w * gain).sum() - entropy_coef * (w * entropy).sum()
        return loss, -w * slope, -entropy_coef * w

    return token_loss


def rows_in(sequences: Sequences, index: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Which row each of these tokens belongs to, for objectives that judge a row as a whole.

    Args:
      sequences: the rows that ``index`` [C] points into.
      index: tokens on axis A, in any order; all tokens of every row that is touched.
      what: the objective's name, for the message.
    Returns:
      (number of the row of each token [C], counted from 0 among the rows touched; tokens of each of these rows).
    Raises:
      ValueError: a row is not there as a whole.
    """
    rows, row, count = torch.unique(sequences.row_of[index], return_inverse=True, return_counts=True)
    lengths = sequences.lengths[rows]
    if not torch.equal(count, lengths):
        broken = int(torch.nonzero(count != lengths)[0])
        raise ValueError(
            f"objective {what} was given {int(count[broken])} of the {int(lengths[broken])} tokens of row "
            f"{int(rows[broken])}; its ratio is a whole row's, so the policy must pass whole rows in one call"
        )
    return row, lengths


def row_sum(x: Tensor, row: Tensor, num_rows: int) -> Tensor:
    """Sum of ``x`` [C] in each row."""
    return x.new_zeros(num_rows).index_add(0, row, x)
