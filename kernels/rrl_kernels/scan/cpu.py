"""Reverse recurrences on a CPU, in float64: a bidiagonal solve for decays of any kind, running sums for long rows.

y_u = x_u + a_u y_{u+1} is upper bidiagonal in y, so one call of BLAS solves all rows together (a_u = 0 ends a row).
It waits for each number before the next. With one decay d a block can be summed at once: backwards in time
y_t = d^t sum_{s <= t} d^-s x_s, a running sum. The solve is left with one number a block, and with the blocks in which
a row ends. Work goes by pieces whose arrays stay in a cache: memory is what takes the time.
Legend: A actions, N rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.blas import dtbsv
from torch import Tensor

PIECE = 1 << 18  # actions at a time, arrays of 2 MiB: smaller ones pay more for calls than they save in the cache
BLOCK = 64
LOWEST = 1e-3  # smallest decay for running sums: its power -64 must fit in float64

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def groups(bounds: list[int]) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of consecutive rows that hold at most ``PIECE`` actions, or of one row."""
    first = 0
    while first < len(bounds) - 1:
        last = max(first + 1, bisect_right(bounds, bounds[first] + PIECE) - 1)
        yield first, last
        first = last


def solve(x: Floats, decay: Floats) -> Floats:
    """y_u = x_u + decay_u y_{u+1}; the last decay is not read."""
    if not len(x):
        return x
    bands = np.empty((2, len(x)), order="F")  # the diagonal is 1 and not read
    bands[0, 0] = 0.0
    np.negative(decay[:-1], out=bands[0, 1:])
    solved: Floats = dtbsv(1, bands, x, diag=1)
    return solved


def gae_of_long_rows(
    reward: Tensor, value: Tensor, offsets: Tensor, final: Tensor, gamma: float, decay: float
) -> Tensor:
    """Advantages, float32 or as wide as ``value``, piece by piece from the end; rows may lie across pieces."""
    advantage = torch.empty(len(value), dtype=torch.promote_types(value.dtype, torch.float32))
    filled = offsets[1:] > offsets[:-1]
    all_ends, after = (offsets[1:][filled] - 1).numpy(), final[filled].double().numpy()
    room = min(PIECE, -(-len(value) // BLOCK) * BLOCK)
    x_room, v_room = torch.zeros(room, dtype=torch.float64), torch.zeros(room + 1, dtype=torch.float64)
    power = decay ** torch.arange(BLOCK, dtype=torch.float64)
    next_value = next_advantage = 0.0
    for stop in range(len(value), 0, -room):
        start = max(0, stop - room)
        free = start - stop & BLOCK - 1  # slots before the first action of all, that make its block a whole one
        x, v = x_room[: stop - start + free], v_room[: stop - start + free + 1]
        x[:free], v[:free] = 0.0, 0.0
        x[free:], v[free:-1], v[-1] = reward[start:stop], value[start:stop], next_value
        first, last = np.searchsorted(all_ends, (start, stop))
        ends = all_ends[first:last] - (start - free)
        at_ends = x.numpy()[ends] + gamma * after[first:last] - v.numpy()[ends]
        x.add_(v[1:], alpha=gamma).sub_(v[:-1])
        x.numpy()[ends] = at_ends
        y = _running_sums(x.view(-1, BLOCK), ends, power, decay, next_advantage)
        advantage[start:stop] = y[free:]
        next_value, next_advantage = float(v[free]), float(y[free])
    return advantage


def _running_sums(x: Tensor, ends: Places, power: Tensor, decay: float, following: float) -> Tensor:
    """y of blocks x [K, BLOCK], flat; ``x`` is overwritten.

    ends: slots of rows' last actions.  power: decay^0 .. decay^(BLOCK - 1).  following: y after the last slot.
    """
    block, slot = np.divmod(ends, BLOCK)
    across = np.full(len(x), decay**BLOCK)
    across[block] = 0.0
    broken = np.unique(block[slot < BLOCK - 1])  # blocks that hold the end of one row and the begin of the next
    inside = np.full((len(broken), BLOCK), decay)
    inside[np.searchsorted(broken, block[slot < BLOCK - 1]), slot[slot < BLOCK - 1]] = 0.0
    inside[:, -1] = 0.0
    parts = x.numpy()[broken]
    begins = (x @ power).numpy()
    begins[broken] = solve(parts.ravel(), inside.ravel()).reshape(-1, BLOCK)[:, 0]
    begins[-1] += across[-1] * following
    coming = np.append(solve(begins, across)[1:], following)
    coming[block[slot == BLOCK - 1]] = 0.0
    x[:, -1].add_(torch.from_numpy(coming), alpha=decay)
    parts[:, -1] += decay * coming[broken]
    y = x.view(-1).flip(0).view(-1, BLOCK).div_(power).cumsum(1).mul_(power).view(-1).flip(0)
    y.numpy().reshape(-1, BLOCK)[broken] = solve(parts.ravel(), inside.ravel()).reshape(-1, BLOCK)
    return y
