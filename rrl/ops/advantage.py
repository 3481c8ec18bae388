"""Generalised advantage estimation and whitening on the flat axis A: no padding goes in or out.

Time index: reward r_u and value V(s_u) sit at the action u; s_{u+1} is the state after it. A row
begins at its first *sampled* token, so nothing here can reach a prompt or a replayed prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rrl_kernels import segments


def gae(
    reward: Float[Tensor, "A"],
    value: Float[Tensor, "A"],
    final_value: Float[Tensor, "N"],
    offsets: Int64[Tensor, "N1"],
    *,
    gamma: float,
    lam: float | Float[Tensor, "N"],
) -> Float[Tensor, "A"]:
    """Advantages A_u = sum_k (gamma lam)^k delta_{u+k}, delta_u = r_u + gamma V(s_{u+1}) - V(s_u).

    Schulman et al., 1506.02438, eq. 16. The sum runs to the end of the row and never past it. The
    advantage and the value target may use different ``lam`` (Yuan et al., VC-PPO, 2503.01491):
    call this twice; the target is ``gae(...) + value``, at lam = 1 the discounted return.

    Example: offsets (0, 2, 3), reward (0, 1, 2), value (.5, .5, 1), final 0, gamma = lam = 1:
    row 0 has deltas (0, .5), so advantages (.5, .5); row 1 has (1).

    Args:
      reward: r_u of each action.
      value: V(s_u), the expected return before each action.
      final_value: V(s_T) of each row: 0 where the row ended, a bootstrap value where it was cut.
      offsets: row i is offsets[i]:offsets[i + 1].
      gamma: discount in [0, 1].
      lam: GAE's lambda in [0, 1], one number or one for each row.
    Returns:
      The advantage of each action, in the dtype of ``value``.
    """
    advantage, _ = segments.segment_gae(
        reward, value, offsets, gamma=gamma, lam=lam, bootstrap_value=final_value.to(value.dtype)
    )
    return advantage


def whiten(
    x: Float[Tensor, "A"],
    segment: Int64[Tensor, "A"],
    *,
    num_segments: int,
    total: Callable[[Sequence[float]], Sequence[float]],
) -> Float[Tensor, "A"]:
    """(x - mean) / (std + 1e-8) inside each segment, never across: fresh and replayed rows apart.

    One joint whitening would let easy replayed rows push every fresh advantage below zero. std is
    the population's. A segment of equal numbers becomes zeros.

    Args:
      x: numbers to whiten.
      segment: the segment of each, in [0, num_segments).
      num_segments: how many there are on all ranks.
      total: element-wise sum over ranks (``Ranks.sum``).
    Returns:
      Whitened numbers, in the dtype of ``x``.
    """
    wide = x.double()
    blank = wide.new_zeros(num_segments)
    count = wide.new_tensor(total(blank.index_add(0, segment, torch.ones_like(wide)).tolist())).clamp(min=1.0)
    mean = wide.new_tensor(total(blank.index_add(0, segment, wide).tolist())) / count
    centred = wide - mean[segment]  # a second pass: E[x^2] - E[x]^2 cancels when the mean is large
    variance = wide.new_tensor(total(blank.index_add(0, segment, centred.square()).tolist())) / count
    return (centred / (variance.sqrt()[segment] + 1e-8)).to(x.dtype)
