"""The truth: GAE and V-trace as loops over one row at a time, written from the papers. Slow on purpose.

Legend: A actions of all rows end to end, N rows. Time index: reward r_u and value V(s_u) stand at action u, s_{u+1} is
the state after it; the state after a row's last action has the value ``final[i]``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gae(reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: Tensor) -> Tensor:
    """A_u = delta_u + gamma lam A_{u+1}, delta_u = r_u + gamma V(s_{u+1}) - V(s_u) (1506.02438, eq. 11-16)."""
    advantage = torch.zeros_like(value)
    for i in range(len(offsets) - 1):
        following, carry = final[i], torch.zeros((), dtype=value.dtype)
        for u in range(int(offsets[i + 1]) - 1, int(offsets[i]) - 1, -1):
            carry = reward[u] + gamma * following - value[u] + gamma * lam[i] * carry
            advantage[u], following = carry, value[u]
    return advantage


def vtrace(
    reward: Tensor, value: Tensor, log_ratio: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float,
    rho_bar: float, c_bar: float,
) -> tuple[Tensor, Tensor]:
    """(v_u, r_u + gamma v_{u+1} - V(s_u)) of 1802.01561, eq. 1 and remark 1.

    v_u = V(s_u) + delta_u + gamma c_u (v_{u+1} - V(s_{u+1})), delta_u = rho_u (r_u + gamma V(s_{u+1}) - V(s_u)),
    c_u = lam min(c_bar, w_u), rho_u = min(rho_bar, w_u).
    """
    target, advantage = torch.zeros_like(value), torch.zeros_like(value)
    weight = log_ratio.clamp(-20.0, 20.0).exp()
    for i in range(len(offsets) - 1):
        following, following_target = final[i], final[i]
        for u in range(int(offsets[i + 1]) - 1, int(offsets[i]) - 1, -1):
            rho, c = weight[u].clamp(max=rho_bar), lam * weight[u].clamp(max=c_bar)
            delta = rho * (reward[u] + gamma * following - value[u])
            advantage[u] = reward[u] + gamma * following_target - value[u]
            target[u] = value[u] + delta + gamma * c * (following_target - following)
            following, following_target = value[u], target[u]
    return target, advantage
