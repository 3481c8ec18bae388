"""Which blocks of a packed row anybody may see, from where its pieces begin and end.

FlexAttention's own ``create_block_mask`` asks its rule for every pair of columns: 10^9 of them for a row of 32,000.
Here a row is a few hundred pieces, each a context, a continuation or padding, and a piece sees itself up to the
diagonal and its context whole. Legend: B columns a block, M blocks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rrl.policy.prefix.groups import NOTHING, TRUNK, Tree


def visible_blocks(tree: Tree, block: int, *, windowed: bool) -> tuple[np.ndarray, np.ndarray]:
    """(some [M, M], all [M, M]) of the tree's only row: block q has a column that sees one of block k; each sees each.

    Blocks of two columns, context (7, 8, 9), continuations (1, 2) and (3,): some = [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
    all = [[0, 0, 0], [1, 0, 0], [1, 0, 0]].

    Args:
      windowed: a sliding window may hide what is far, so no block is known to be seen whole.
    """
    num = tree.ids.shape[1] // block
    some, whole = np.zeros((num, num), dtype=bool), np.zeros((num, num), dtype=bool)
    begin, end, context = _pieces(tree)
    for b, e, c in zip(begin, end, context, strict=True):
        rows = slice(b // block, (e - 1) // block + 1)
        for i in range(rows.start, rows.stop):
            some[i, b // block : i + 1] = True
        if c is not None:
            some[rows, c[0] // block : (c[1] - 1) // block + 1] = True
    if not windowed:
        _whole(whole, begin, end, context, block)
    return some, whole


def _whole(
    whole: np.ndarray, begin: list[int], end: list[int], context: list[tuple[int, int] | None], block: int
) -> None:
    """Mark what all columns of a block see: of its pieces' common context, and of a piece that is all of the block."""
    first = 0
    for i in range(len(whole)):
        low, high = i * block, (i + 1) * block
        while end[first] <= low:
            first += 1
        last = first
        while end[last] < high:
            last += 1
        trunks = {context[p] or (begin[p], end[p]) for p in range(first, last + 1)}
        if len(trunks) == 1:  # a column of the context itself sees it up to the diagonal
            (trunk,) = trunks
            whole[i, -(-trunk[0] // block) : min(trunk[1] // block, i)] = True
        if first == last:
            whole[i, -(-begin[first] // block) : i] = True


def _pieces(tree: Tree) -> tuple[list[int], list[int], list[tuple[int, int] | None]]:
    """(begin, end, the context that it continues) of every piece, from left to right."""
    root, branch = tree.root[0], tree.branch[0]
    new = torch.ones_like(root, dtype=torch.bool)
    new[1:] = (root[1:] != root[:-1]) | (branch[1:] != branch[:-1])
    starts: Tensor = new.nonzero()[:, 0]
    begin = starts.tolist()
    end = [*begin[1:], len(root)]
    trunk: tuple[int, int] | None = None
    context: list[tuple[int, int] | None] = []
    for b, e, kind in zip(begin, end, branch[starts].tolist(), strict=True):
        if kind == TRUNK:
            trunk = (b, e)
        context.append(None if kind in (TRUNK, NOTHING) else trunk)
    return begin, end, context
