"""Rows on the flat axis A: what happens per row without ever padding it.

Row i of a tensor on axis A is ``values[offsets[i]:offsets[i + 1]]``. Legend: A sampled tokens of
all rows end to end, N rows, N1 = N + 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def segment_sum(values: Float[Tensor, "A"], offsets: Int64[Tensor, "N1"]) -> Float[Tensor, "N"]:
    """Sum of each row; 0 for an empty one. (1, 2, 3, 4, 5) with offsets (0, 2, 5) -> (3, 12)."""
    return torch.segment_reduce(values, "sum", offsets=offsets, initial=0.0)


def segment_mean(values: Float[Tensor, "A"], offsets: Int64[Tensor, "N1"]) -> Float[Tensor, "N"]:
    """Mean of each row; rows are never empty. (1, 2, 3, 4, 5) with offsets (0, 2, 5) -> (1.5, 4)."""
    return segment_sum(values, offsets) / (offsets[1:] - offsets[:-1])


def first_index(offsets: Int64[Tensor, "N1"]) -> Int64[Tensor, "N"]:
    """Position on axis A of each row's first token. (0, 2, 5) -> (0, 2)."""
    return offsets[:-1]


def last_index(offsets: Int64[Tensor, "N1"]) -> Int64[Tensor, "N"]:
    """Position on axis A of each row's last token. (0, 2, 5) -> (1, 4)."""
    return offsets[1:] - 1


def row_index(offsets: Int64[Tensor, "N1"]) -> Int64[Tensor, "A"]:
    """The row of each token. (0, 2, 5) -> (0, 0, 1, 1, 1)."""
    return torch.repeat_interleave(offsets[1:] - offsets[:-1])


def position_in_row(offsets: Int64[Tensor, "N1"]) -> Int64[Tensor, "A"]:
    """How many tokens of its own row stand before each token. (0, 2, 5) -> (0, 1, 0, 1, 2)."""
    first = torch.repeat_interleave(offsets[:-1], offsets[1:] - offsets[:-1])
    return torch.arange(len(first), device=offsets.device) - first
