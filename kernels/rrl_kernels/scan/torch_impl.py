"""Reverse linear recurrences over packed rows in plain torch, in float64 inside.

Three forms of y_u = x_u + a_u y_{u+1}, none with a Python step in time: many short rows of one decay are a product
with a small triangular matrix, block by block from each row's tail; decays of their own double the reach of every
number in each pass (Hillis and Steele 1986); long rows go one by one through scipy's compiled recursive filter.
Legend: A actions, N rows.
"""

from __future__ import annotations

import torch
from scipy.signal import lfilter
from torch import Tensor

LONG = 512  # mean length from which a call of the filter for each row costs less than the blocks' bookkeeping
BLOCK = 128  # columns of a block: larger ones waste products on the zero triangle, smaller ones need more carries


def deltas(reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float) -> Tensor:
    """r_u + gamma V(s_{u+1}) - V(s_u) in float64; ``final`` [N] is the value after each row's last action."""
    v = value.double()
    return reward.double() + gamma * shifted(v, offsets, final.double()) - v


def shifted(x: Tensor, offsets: Tensor, final: Tensor) -> Tensor:
    """x_{u+1}, and ``final`` after each row's last action."""
    later = torch.cat([x[1:], x.new_zeros(1)])
    filled = offsets[1:] > offsets[:-1]
    later[(offsets[1:] - 1)[filled]] = final[filled]
    return later


def scan_one_decay(x: Tensor, offsets: Tensor, decay: float) -> Tensor:
    """y_u = x_u + decay y_{u+1} inside each row."""
    lengths = offsets[1:] - offsets[:-1]
    longest = int(lengths.max()) if len(lengths) else 0
    if longest == 0 or decay == 0.0:
        return x.clone()
    block = min(BLOCK, 1 << (longest - 1).bit_length())
    num_blocks = (lengths + block - 1) // block
    first_block = num_blocks.cumsum(0) - num_blocks
    row = torch.repeat_interleave(lengths)
    behind = offsets[1:][row] - 1 - torch.arange(len(x), device=x.device)  # actions of the row after this one
    place = (first_block[row] + behind // block) * block + (block - 1 - behind % block)
    grid = x.new_zeros(int(num_blocks.sum()), block)
    grid.view(-1)[place] = x
    column = torch.arange(block, device=x.device)
    gap = column[:, None] - column
    grid = grid @ torch.where(gap >= 0, decay ** gap.clamp(min=0).to(x.dtype), 0.0)
    reach = decay ** (block - column).to(x.dtype)
    for k in range(1, int(num_blocks.max())):  # block k - 1 from the tail hands its first number to block k
        here = first_block[num_blocks > k] + k
        grid[here] += reach * grid[here - 1, :1]
    return grid.view(-1)[place]


def scan_own_decay(x: Tensor, decay: Tensor, offsets: Tensor) -> Tensor:
    """y_u = x_u + decay_u y_{u+1} inside each row; ``decay`` [A]."""
    lengths = offsets[1:] - offsets[:-1]
    longest = int(lengths.max()) if len(lengths) else 0
    y, a = x.clone(), decay.clone()
    a[(offsets[1:] - 1)[lengths > 0]] = 0.0  # nothing comes into a row from the next one
    reach = 1
    while reach < longest:
        y = torch.cat([y[:-reach] + a[:-reach] * y[reach:], y[-reach:]])
        a = torch.cat([a[:-reach] * a[reach:], a[-reach:]])
        reach *= 2
    return y


def gae(
    reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float, row_lam: Tensor | None
) -> Tensor:
    """Advantages, in float64 inside; ``row_lam`` [N] takes the place of ``lam`` where it is given."""
    if len(value) >= LONG * max(len(final), 1):
        decays = [gamma * lam] * len(final) if row_lam is None else (gamma * row_lam.double()).tolist()
        return _gae_of_long_rows(reward, value, offsets, final, gamma, decays)
    delta = deltas(reward, value, offsets, final, gamma)
    if row_lam is None:
        return scan_one_decay(delta, offsets, gamma * lam)
    decay = torch.repeat_interleave(gamma * row_lam.double(), offsets[1:] - offsets[:-1])
    return scan_own_decay(delta, decay, offsets)


def _gae_of_long_rows(
    reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float, decays: list[float]
) -> Tensor:
    """Row by row, so that a row's numbers stay in the cache between its deltas and its recursion."""
    dtype = torch.float64 if value.dtype == torch.float64 else torch.float32  # numpy knows no bfloat16
    advantage = torch.empty(len(value), dtype=dtype)
    out, bounds, ends = advantage.numpy(), offsets.tolist(), final.tolist()
    r, v = reward.detach().to(dtype).numpy(), value.detach().to(dtype).numpy()
    for i, decay in enumerate(decays):
        a, b = bounds[i], bounds[i + 1]
        if a < b:
            here = v[a:b].astype("float64")
            delta = r[a:b] - here
            delta[:-1] += gamma * here[1:]
            delta[-1] += gamma * ends[i]
            out[a:b] = lfilter([1.0], [1.0, -decay], delta[::-1])[::-1]
    return advantage


def vtrace(
    reward: Tensor, value: Tensor, log_ratio: Tensor, offsets: Tensor, final: Tensor, gamma: float, lam: float,
    rho_bar: float, c_bar: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(v [A], r + gamma v' - V [A], rho [A], effective sample size [N]) in float64; see ``reference.vtrace``."""
    weight = log_ratio.double().clamp(-20.0, 20.0).exp()
    rho, c = weight.clamp(max=rho_bar), lam * weight.clamp(max=c_bar)
    delta = rho * deltas(reward, value, offsets, final, gamma)
    target = value.double() + scan_own_decay(delta, gamma * c, offsets)
    advantage = reward.double() + gamma * shifted(target, offsets, final.double()) - value.double()
    row = torch.repeat_interleave(offsets[1:] - offsets[:-1])
    first, second = (final.new_zeros(len(final), dtype=torch.float64).index_add(0, row, w) for w in (weight, weight**2))
    return target, advantage, rho, first.square() / second.clamp(min=torch.finfo(torch.float64).tiny)
