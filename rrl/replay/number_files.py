"""Where the blocks of columns of numbers stand on disk: written when something in them changed since the last time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rrl.replay.segment_files import PIECE, Put, not_kept

BLOCK = 1024  # places; a step touches few of them, and a checksum of each is small beside its numbers


class NumberFiles:
    """Remembers a checksum of every block, and which file holds it as it is.

    The checksum is Python's own of bytes: 64 bits of SipHash (Aumasson and Bernstein, 2012) under a key of the
    process, 3 GB/s. A change is missed with probability 2 ** -64 whatever the numbers are.
    """

    def __init__(self) -> None:
        self.sizes = dict[int, int]()  # bytes of each file that counts, by its number
        self._sums, self._file = dict[str, np.ndarray](), dict[str, np.ndarray]()  # [blocks] of each column

    def write(self, columns: Mapping[str, np.ndarray], put: Put) -> None:
        """Write the blocks that changed, and the others of files that are not kept. Columns may only become longer."""
        changed = {name: self._changed(name, column) for name, column in columns.items()}
        live = np.zeros(max(self.sizes, default=0) + 1)
        for name, column in columns.items():
            live += BLOCK * column.itemsize * np.bincount(self._file[name][~changed[name]], minlength=len(live))
        if dead := not_kept(self.sizes, live, PIECE):
            self.sizes = {number: size for number, size in self.sizes.items() if number not in dead}
            changed = {name: changed[name] | np.isin(self._file[name], dead) for name in columns}
        arrays, size, held = dict[str, np.ndarray](), 0, list[tuple[str, np.ndarray]]()
        for name, column in columns.items():
            if not changed[name].any():
                continue
            blocks = np.flatnonzero(changed[name])
            values = np.concatenate([column[i * BLOCK : (i + 1) * BLOCK] for i in blocks.tolist()])
            arrays |= {f"{name}.blocks": blocks, f"{name}.values": values}
            size += len(blocks) * BLOCK * column.itemsize
            held.append((name, blocks))
            if size >= PIECE:
                self._put(arrays, size, held, put)
                arrays, size, held = {}, 0, []
        if held:
            self._put(arrays, size, held, put)

    def _changed(self, name: str, column: np.ndarray) -> np.ndarray:
        """[blocks] whether the block is another one than at the last write."""
        sums = [hash(column[i : i + BLOCK].tobytes()) for i in range(0, len(column), BLOCK)]
        now, known = np.array(sums, dtype=np.int64), self._sums.get(name, np.zeros(0, dtype=np.int64))
        changed = np.ones(len(now), dtype=bool)
        changed[: len(known)] = now[: len(known)] != known
        self._sums[name] = now
        more = np.zeros(len(now) - len(known), dtype=np.int64)
        self._file[name] = np.concatenate([self._file.get(name, more[:0]), more])
        return changed

    def _put(
        self, arrays: dict[str, np.ndarray], size: int, held: list[tuple[str, np.ndarray]], put: Put
    ) -> None:
        number = put("numbers", arrays)
        self.sizes[number] = size
        for name, blocks in held:
            self._file[name][blocks] = number


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
