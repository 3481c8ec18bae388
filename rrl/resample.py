"""Dynamic sampling: which groups of a step teach nothing, and which rows are learned from when others were drawn again.

A group of equal scores has no advantage; kept in the batch it only thins out the others. DAPO (Yu et al., 2503.14476,
section 3.2) drops such groups and samples more problems until the batch is full. Here that has a bound
(``run.resample_rounds``), every sampled token counts, and only the policy's loss leaves the dropped rows out: success
rates, replay and the value see them, for they happened.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import torch
from jaxtyping import Int64
from torch import Tensor

from rrl.ranks import Ranks
from rrl.types import Metrics, Scored, Start


def telling_groups(scored: Scored, ranks: Ranks) -> set[str]:
    """The groups, over all ranks, whose scores differ. Scores (0, 1), (1, 1), (0): the first group alone.

    Args:
      scored: this rank's rows, stored answers among them: one that is joined to a failing group makes it telling.
    """
    sequences = scored.rollouts.sequences
    groups = [s.group for s in sequences.starts]
    pairs = [(groups[i], x) for i, x in zip(sequences.start_index.tolist(), scored.score.tolist(), strict=True)]
    seen: dict[str, set[float]] = {}
    for group, score in ranks.gather(pairs):
        seen.setdefault(group, set()).add(score)
    return {group for group, scores in seen.items() if len(scores) > 1}


def chosen_starts(drawn: Sequence[Start], telling: Set[str], num: int) -> list[Start]:
    """The first ``num`` fresh starts whose group is telling, in the order in which they were drawn."""
    return [s for s in drawn if not s.replayed and s.group in telling][:num]


def rows_learned_from(scored: Scored, chosen: Sequence[Start]) -> Int64[Tensor, "M"]:
    """This rank's rows of ``chosen`` fresh starts and answers recalled for them, and all replayed rows.

    All rows where nothing was chosen: equal rewards then cancel in the advantage instead.
    """
    sequences = scored.rollouts.sequences
    if not chosen:
        return torch.arange(sequences.num_rows)
    kept = {s.key for s in chosen}
    wanted = torch.tensor([s.replayed or s.key in kept for s in sequences.starts], dtype=torch.bool)
    return torch.nonzero(wanted[sequences.start_index]).flatten()


def resampling_metrics(drawn: Sequence[Start], telling: Set[str], num_rounds: int) -> Metrics:
    """How often was sampled, and the share of fresh groups that were dropped for their equal scores."""
    fresh = [s for s in drawn if not s.replayed]
    metrics = {"rollout/rounds": float(num_rounds)}
    if fresh:
        metrics["rollout/constant_frac"] = sum(s.group not in telling for s in fresh) / len(fresh)
    return metrics
