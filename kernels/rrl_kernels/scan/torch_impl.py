"""GAE and V-trace over packed rows in plain torch, in float64 inside, without a Python step in time.

Legend: A actions, N rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrl_kernels.scan import cpu

MANY = 1 << 14  # actions from which the blocks' bookkeeping costs less than a solve that waits for each number


def deltas(reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float) -> Tensor:
    """r_u + gamma V(s_{u+1}) - V(s_u) in float64; ``final`` [N] is the value after each row's last action."""
    v = value.double()
    return reward.double() + gamma * shifted(v, offsets, final.double()) - v


def shifted(x: Tensor, offsets: Tensor, final: Tensor) -> Tensor:
    """x_{u+1}, and ``final`` after each row's last action."""
    later = torch.cat([x[1:], x.new_zeros(len(x[:1]))])
    filled = offsets[1:] > offsets[:-1]
    later[(offsets[1:] - 1)[filled]] = final[filled]
    return later


def scan(x: Tensor, decay: Tensor, offsets: Tensor) -> Tensor:
    """y_u = x_u + decay_u y_{u+1} inside each row, float64; ``decay`` [A] is overwritten."""
    lengths = offsets[1:] - offsets[:-1]
    decay[(offsets[1:] - 1)[lengths > 0]] = 0.0  # nothing comes into a row from the next one
    if x.device.type == "cpu":
        return torch.from_numpy(cpu.solve(x.numpy(), decay.numpy()))
    return scan_by_doubling(x, decay, lengths)


def scan_by_doubling(x: Tensor, decay: Tensor, lengths: Tensor) -> Tensor:
    """The same where no solve is at hand: each pass doubles the reach of every number (Hillis and Steele 1986)."""
    longest = int(lengths.max()) if len(lengths) else 0
    y, a, reach = x, decay, 1
    while reach < longest:
        y = torch.cat([y[:-reach] + a[:-reach] * y[reach:], y[-reach:]])
        a = torch.cat([a[:-reach] * a[reach:], a[-reach:]])
        reach *= 2
    return y


def gae(
    reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float, row_lam: Tensor | None
) -> Tensor:
    """Advantages, in float64 inside; ``row_lam`` [N] takes the place of ``lam`` where it is given."""
    long = row_lam is None and gamma * lam >= cpu.LOWEST and len(value) >= max(MANY, cpu.BLOCK * len(final))
    if long and value.device.type == "cpu":
        return cpu.gae_of_long_rows(reward, value, offsets, final, gamma, gamma * lam)
    each = final.new_full(final.shape, lam, dtype=torch.float64) if row_lam is None else row_lam.double()
    advantage = torch.empty(len(value), dtype=torch.float64, device=value.device)
    for rows, here, bounds in _groups(offsets):
        delta = deltas(reward[here], value[here], bounds, final[rows], gamma)
        decay = torch.repeat_interleave(gamma * each[rows], bounds[1:] - bounds[:-1])
        advantage[here] = scan(delta, decay, bounds)
    return advantage


def vtrace(
    reward: Tensor, value: Tensor, log_ratio: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float,
    rho_bar: float, c_bar: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(v [A], r + gamma v' - V [A], rho [A], effective sample size [N]) in float64; see ``reference.vtrace``."""
    wide: dict[str, Any] = {"dtype": torch.float64, "device": value.device}
    target, advantage, clipped = (torch.empty(len(value), **wide) for _ in range(3))
    ess = torch.empty(len(final), **wide)
    for rows, here, bounds in _groups(offsets):
        r, v, after = reward[here].double(), value[here].double(), final[rows].double()
        weight = log_ratio[here].double().clamp(-20.0, 20.0).exp_()
        rho, c = weight.clamp(max=rho_bar), weight.clamp(max=c_bar).mul_(gamma * lam)
        gain = scan(rho * deltas(r, v, bounds, after, gamma), c, bounds)
        clipped[here], target[here] = rho, gain.add_(v)
        advantage[here] = shifted(gain, bounds, after).mul_(gamma).add_(r).sub_(v)
        row = torch.repeat_interleave(bounds[1:] - bounds[:-1])
        first, second = (torch.zeros_like(after).index_add_(0, row, w) for w in (weight, weight.square()))
        ess[rows] = first.square() / second.clamp(min=torch.finfo(torch.float64).tiny)
    return target, advantage, clipped, ess


def _groups(offsets: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """(rows, their actions, their own offsets): on a CPU as many at a time as a cache holds, else all."""
    if offsets.device.type != "cpu":
        return [(slice(None), slice(None), offsets)]
    bounds = offsets.tolist()
    return [
        (slice(i, j), slice(bounds[i], bounds[j]), offsets[i : j + 1] - bounds[i]) for i, j in cpu.groups(bounds)
    ]
