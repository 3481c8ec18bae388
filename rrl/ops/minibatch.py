"""Which rows a mini-batch holds: a pure function of global row numbers, not of the number of ranks.

A step's rows come as *streams* (fresh, replayed, lessons). Every mini-batch takes its part of every
stream, and knows its counts over all ranks, so that losses are normalised by global counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from rrl.ranks import Ranks
from rrl.types import Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One stream's part of one mini-batch.

    rows: of this rank, ascending.  num_rows/num_tokens: of this part over all ranks.  first_row:
    global number of this rank's row 0 of the stream.  total_rows: of the whole stream, all ranks.
    """

    rows: Int64[Tensor, "M"]
    num_rows: int
    num_tokens: int
    first_row: int
    total_rows: int


def minibatches(
    lengths: Sequence[Int64[Tensor, "_"]],
    *,
    ranks: Ranks,
    epochs: int,
    num: int,
    generator: Callable[[int, int], np.random.Generator],
    together: Sequence[Int64[Tensor, "_"]] | None = None,
) -> Iterator[list[Part]]:
    """Deal every stream's rows into ``num`` mini-batches, ``epochs`` times.

    Rows 0..n-1 of a stream (rank 0's first) are permuted and cut at k n / num, so parts differ by at
    most one row and each row is used once an epoch. Mini-batches without any row are left out.

    Example: one stream of 4 rows, permutation (2, 0, 3, 1), num 2: rows {0, 2}, then {1, 3}.

    Args:
      lengths: tokens of each of this rank's rows, one tensor a stream; all ranks give as many streams.
      ranks: who else holds rows.
      epochs: passes over the rows, >= 1.
      num: mini-batches a pass, >= 1.
      generator: (epoch, stream) -> generator of that permutation, equal on all ranks.
      together: a number for each of this rank's rows, one tensor a stream; rows of one number are dealt side by side,
        so that a cut splits at most one number's rows. None = each row on its own.
    Yields:
      One part for each stream.
    """
    everyone = ranks.gather([[stream.tolist() for stream in lengths]])
    sizes = [np.concatenate([np.asarray(mine[s], dtype=np.int64) for mine in everyone]) for s in range(len(lengths))]
    firsts = [sum(len(mine[s]) for mine in everyone[: ranks.rank]) for s in range(len(lengths))]
    blocks = [np.arange(len(size)) for size in sizes] if together is None else _blocks(ranks, together)
    for epoch in range(epochs):
        shuffled = [generator(epoch, s).permutation(_count(block)) for s, block in enumerate(blocks)]
        orders = [_dealt(order, block) for order, block in zip(shuffled, blocks, strict=True)]
        for k in range(num):
            parts = [
                _part(order[k * len(order) // num : (k + 1) * len(order) // num], size, first, len(mine))
                for order, size, first, mine in zip(orders, sizes, firsts, lengths, strict=True)
            ]
            if any(part.num_rows for part in parts):
                yield parts


def _blocks(ranks: Ranks, together: Sequence[Int64[Tensor, "_"]]) -> list[np.ndarray]:
    """Of each stream, a number for every row of all ranks; those of two ranks are never the same."""
    everyone = ranks.gather([[stream.tolist() for stream in together]])
    return [
        np.unique([(rank, n) for rank, mine in enumerate(everyone) for n in mine[s]] or np.zeros((0, 2)), axis=0,
                  return_inverse=True)[1].reshape(-1)
        for s in range(len(together))
    ]  # fmt: skip


def _dealt(order: np.ndarray, block: np.ndarray) -> np.ndarray:
    """All rows, block by block. Blocks (0, 0, 1, 2, 1) in the order (1, 2, 0): rows (2, 4, 3, 0, 1)."""
    place = np.argsort(order)
    return np.argsort(place[block], kind="stable")


def _count(block: np.ndarray) -> int:
    return int(block.max()) + 1 if len(block) else 0


def cuts(sizes: list[int], most: int) -> list[tuple[int, int]]:
    """(first, last) of parts of at most ``most`` rows that end where groups do; a larger group is cut.

    Groups of 2, 3, 2 and 9 rows, most 5: rows 0-5, 5-7, 7-12, 12-16.
    """
    return _cut([(0, [0] * size) for size in sizes], most, math.inf)


def cuts_of(sequences: Sequences, *, most_rows: int, most_tokens: int) -> list[tuple[int, int]]:
    """(first, last) rows of parts of at most so many rows and tokens, ended where starts do; 0 = no limit.

    A start's context counts once in a part, its rows' actions and what they heard each on their own. A start that is
    too much alone is cut; one row always fits. Contexts of 5 with rows of 2, 2 and 2, then 4, most_tokens 10: rows
    0-2 (9 tokens), 2-3 (7), 3-4 (9).
    """
    heard = sequences.given_offsets[sequences.offsets]
    own = (sequences.lengths + heard[1:] - heard[:-1]).tolist()
    found = torch.unique_consecutive(sequences.start_index, return_counts=True)
    groups, end = list[tuple[int, list[int]]](), 0
    for start, size in zip(*(x.tolist() for x in found), strict=True):
        begin, end = end, end + size
        groups.append((len(sequences.starts[start].context), own[begin:end]))
    return _cut(groups, most_rows or sequences.num_rows, most_tokens or math.inf)


def _cut(groups: Sequence[tuple[int, Sequence[int]]], most_rows: int, most_tokens: float) -> list[tuple[int, int]]:
    """(first, last) of parts; groups: tokens that a group's rows share, and those of each row."""
    parts, first, used, end = [], 0, 0, 0
    for shared, own in groups:
        begin, end = end, end + len(own)
        together = end - first <= most_rows and used + shared + sum(own) <= most_tokens
        if begin > first and not together:
            parts.append((first, begin))
            first, used = begin, 0
        for i, tokens in enumerate(own, begin):
            more = tokens + (shared if i == begin else 0)
            if i > first and (i - first == most_rows or used + more > most_tokens):  # a group that is too much alone
                parts.append((first, i))
                first, used, more = i, 0, tokens + shared
            used += more
    return [*parts, (first, end)] if end else []


def _part(chosen: np.ndarray, sizes: np.ndarray, first: int, num_mine: int) -> Part:
    mine = np.sort(chosen[(chosen >= first) & (chosen < first + num_mine)]) - first
    return Part(
        rows=torch.from_numpy(mine),
        num_rows=len(chosen),
        num_tokens=int(sizes[chosen].sum()),
        first_row=first,
        total_rows=len(sizes),
    )
