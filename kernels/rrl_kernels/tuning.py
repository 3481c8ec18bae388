"""Launch configurations and chunk sizes as static tables; nothing is searched at run time.

A search at run time would change results from run to run, and on a kernel that writes in place it would run every
candidate on the same memory. Keys are (major compute capability, bytes of an element, size); a key that is not there
takes the nearest one: capability first, then bytes, then the smallest size that holds it.

No search has been run over these numbers on a GPU. They are chosen from the register and byte counts beside them, and
each compiles without spills for every listed architecture (``tests/kernels/test_compile.py``).
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch


class RowConfig(NamedTuple):
    """block: columns (or tokens) read at once.  num_warps, num_stages: of the launch."""

    block: int
    num_warps: int
    num_stages: int


Config = TypeVar("Config")
Table = dict[tuple[int, int, int], Config]

HOPPER = (9, 0)

# Little's law: 3.0 TB/s for 0.7 us of latency is 2.1 MB in flight, 16 KB for each of 132 multiprocessors. A block of
# 4096 bfloat16 columns is 8 KB of one row, and the registers below let at least four rows run on a multiprocessor.
# 4096 columns over 8 warps are 16 a thread: 48 registers for the three float32 arrays that live at once, of 255.
# Short vocabularies: one block, fewer warps to meet at each reduction.
# num_stages is 1: a loop without a matrix product is not pipelined, whatever is asked for.
_ROWS: Table[RowConfig] = {
    (9, 4, 1024): RowConfig(block=1024, num_warps=4, num_stages=1),
    (9, 4, 32768): RowConfig(block=2048, num_warps=4, num_stages=1),
    (9, 4, 262144): RowConfig(block=4096, num_warps=8, num_stages=1),
}

# A step scans its block in log2(block) combines and the next waits for its carry: 1024 tokens are 8 KB of the two
# inputs and 8 a thread. Rows of at most 256 tokens need no shared memory in one warp.
_SCANS: Table[RowConfig] = {
    (9, 4, 256): RowConfig(block=256, num_warps=1, num_stages=1),
    (9, 4, 1 << 30): RowConfig(block=1024, num_warps=4, num_stages=1),
}

# As scans, with twice the warps for long groups: places are 8 bytes each, and with 8 of them a thread the loop that
# follows an order spills registers on Hopper.
_GROUPS: Table[RowConfig] = {
    (9, 4, 256): RowConfig(block=256, num_warps=1, num_stages=1),
    (9, 4, 1 << 30): RowConfig(block=1024, num_warps=8, num_stages=1),
}


def capability_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Compute capability of the tensor's GPU; that of Hopper on a CPU, where only the interpreter asks."""
    return torch.cuda.get_device_capability(tensor.device) if tensor.is_cuda else HOPPER


def row_config(vocab_size: int, itemsize: int = 4, capability: tuple[int, int] = HOPPER) -> RowConfig:
    """Of a kernel with one program a row, by vocabulary and bytes of a logit; no wider than the row."""
    return _no_wider(_ROWS, vocab_size, itemsize, capability)


def scan_config(longest: int, itemsize: int = 4, capability: tuple[int, int] = HOPPER) -> RowConfig:
    """Of a kernel with one program a segment, by the longest; fewer tokens a step where rows are short."""
    return _no_wider(_SCANS, longest, itemsize, capability)


def group_config(longest: int, itemsize: int = 4, capability: tuple[int, int] = HOPPER) -> RowConfig:
    """Of a kernel with one program a group, by the rows that it looks at."""
    return _no_wider(_GROUPS, longest, itemsize, capability)


def head_chunk(device: str, vocab_size: int, logit_bytes: int) -> int:
    """Rows of the output layer whose logits exist at once.

    GPU: with c rows the float32 dW costs 355 / c of the three products (it is read and written once a chunk), 9 % at
    4096 and 35 % at 1024; 4096 rows of 151,936 float32 logits are 2.5 GB. At most 4 GiB of logits in all.
    CPU: 48 MiB of logits (measured: 32 MiB cost 5 % more time, 64 MiB saved none); at least 16 rows, so that products
    stay products of matrices.
    """
    row_bytes = max(1, vocab_size * logit_bytes)
    if device == "cuda":
        return max(128, min(4096, (4 << 30) // row_bytes))
    return max(16, (48 << 20) // row_bytes)


def nearest(table: Table[Config], major: int, itemsize: int, size: int) -> Config:
    """The entry of the nearest capability (the lower of two), then bytes, then the smallest size that holds it."""

    def distance(key: tuple[int, int, int]) -> tuple[int, int, int, bool, int]:
        too_small = key[2] < size
        return abs(key[0] - major), key[0], abs(key[1] - itemsize), too_small, -key[2] if too_small else key[2]

    return table[min(table, key=distance)]


def _no_wider(table: Table[RowConfig], size: int, itemsize: int, capability: tuple[int, int]) -> RowConfig:
    """The nearest entry, its block no wider than what it reads."""
    best = nearest(table, capability[0], itemsize, size)
    return best._replace(block=min(best.block, _power_of_two(size)))


def _power_of_two(size: int) -> int:
    return max(16, 1 << max(size - 1, 1).bit_length())
