"""Rows of one start as a group, over all ranks: returns, sums, and the ``Estimated`` that comes out of a baseline.

Two prefixes of one problem are two groups: mixed, the better prefix would look like the better continuation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rrl.ops.advantage import gae
from rrl.ranks import Ranks
from rrl.types import Estimated, Scored


def grouped(ranks: Ranks, keys: Sequence[str], numbers: Sequence[float]) -> dict[str, list[float]]:
    """key -> its numbers, over all ranks."""
    groups: dict[str, list[float]] = {}
    for key, x in ranks.gather(list(zip(keys, numbers, strict=True))):
        groups.setdefault(key, []).append(x)
    return groups


def totals(ranks: Ranks, keys: Sequence[str], numbers: Sequence[float]) -> dict[str, tuple[float, int]]:
    """key -> (sum of its numbers, how many), over all ranks."""
    # fsum is exact, hence independent of row order; equal numbers give exactly their mean.
    return {key: (math.fsum(xs), len(xs)) for key, xs in grouped(ranks, keys, numbers).items()}


def returns_to_go(scored: Scored) -> Float[Tensor, "A"]:
    """G_u = r_u + r_{u+1} + ... to the row's end, undiscounted; a row's first is its return."""
    sequences = scored.rollouts.sequences
    nothing = torch.zeros_like(scored.reward)
    return gae(scored.reward, nothing, torch.zeros(sequences.num_rows), sequences.offsets, gamma=1.0, lam=1.0)


def rows_of(scored: Scored, to_go: Tensor) -> tuple[list[str], list[float]]:
    """(key of its start, return G_0) of each of this rank's rows."""
    sequences = scored.rollouts.sequences
    keys = [s.group for s in sequences.starts]
    return [keys[i] for i in sequences.start_index.tolist()], to_go[sequences.offsets[:-1]].tolist()


def estimated_by(
    scored: Scored, to_go: Tensor, baseline: Sequence[float], scale: Sequence[float] | None, success: np.ndarray
) -> Estimated:
    """A_u = scale (G_u - baseline) of each row; computed in float64.

    Args:
      scored, to_go: rows and ``returns_to_go`` of them.
      baseline: of each row; it is the row's value.
      scale: of each row; None = 1. 0 gives advantage 0 whatever the row's rewards.
      success: P(solved) of each start, in the order of ``starts``.
    """
    sequences = scored.rollouts.sequences
    value = torch.repeat_interleave(torch.tensor(baseline, dtype=torch.float64), sequences.lengths)
    advantage = to_go.double() - value
    if scale is not None:
        advantage = torch.repeat_interleave(torch.tensor(scale, dtype=torch.float64), sequences.lengths) * advantage
    believed = torch.from_numpy(success)[sequences.start_index]
    return Estimated(
        scored=scored,
        value=value.float(),
        success=torch.repeat_interleave(believed, sequences.lengths).float(),
        advantage=advantage.float(),
        target_return=to_go,
    )
