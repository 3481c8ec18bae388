"""What is written of columns of numbers: blocks of places in which something changed since the last time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rrl.replay.segment_files import PIECE, Pile, Put

BLOCK = 1024  # places; a step touches few of them, and a checksum of each is small beside its numbers

Sums = Mapping[str, Sequence[int]]


class NumberFiles:
    """Remembers a checksum of every block, of the last write and of the last whole one.

    The checksum is Python's own of bytes: 64 bits of SipHash (Aumasson and Bernstein, 2012) under a key of the
    process, 3 GB/s. A change is missed with probability 2 ** -64 whatever the numbers are.
    """

    def __init__(self) -> None:
        self.pile = Pile()
        self._sums: dict[str, Sums] = {"nothing": {}}

    def write(self, columns: Mapping[str, np.ndarray], put: Put) -> None:
        """Write the blocks that changed; columns may only have become longer."""
        since = self.pile.next(sum(column.nbytes for column in columns.values()))
        before, now = self._sums[since], dict[str, list[int]]()
        changed, size = dict[str, np.ndarray](), 0
        files = self.pile.whole if since == "nothing" else self.pile.changes
        for name, column in columns.items():
            known = before.get(name, ())
            now[name] = [hash(column[i : i + BLOCK].tobytes()) for i in range(0, len(column), BLOCK)]
            blocks = [i for i, new in enumerate(now[name]) if i >= len(known) or known[i] != new]
            if not blocks:
                continue
            changed[f"{name}.blocks"] = np.array(blocks, dtype=np.int64)
            changed[f"{name}.values"] = np.concatenate([column[i * BLOCK : (i + 1) * BLOCK] for i in blocks])
            size += changed[f"{name}.values"].nbytes
            if size >= PIECE:
                files[put("numbers", changed)] = size
                changed, size = {}, 0
        if changed:
            files[put("numbers", changed)] = size
        self._sums["last"] = now
        if since == "nothing":
            self._sums["whole"] = now


def lay_over(columns: dict[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> None:
    """Lay a file's blocks over the columns as they stood before. Only a column's last block may be short."""
    for name in sorted({key.rpartition(".")[0] for key in arrays}):
        blocks, values = arrays[f"{name}.blocks"], arrays[f"{name}.values"]
        column = columns.get(name, np.zeros(0, dtype=values.dtype))
        places = int(blocks[-1]) * BLOCK + len(values) - (len(blocks) - 1) * BLOCK
        if places > len(column):
            column = np.concatenate([column, np.zeros(places - len(column), dtype=values.dtype)])
        for i, block in enumerate(blocks.tolist()):
            some = values[i * BLOCK : (i + 1) * BLOCK]
            column[block * BLOCK : block * BLOCK + len(some)] = some
        columns[name] = column
