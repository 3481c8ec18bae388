"""Where the tokens of each stored prefix stand on disk: written once, and again when their file is mostly dead."""

from __future__ import annotations

import numpy as np

from rrl.replay.segment_files import PIECE, Put, not_kept
from rrl.replay.shelf import Shelf

_TOKENS = PIECE // 4  # of a file at most


class TokenFiles:
    """Remembers which file and place holds the tokens of a row.

    Rows are numbered as they are added, so a row is new when its number is above the newest one at the last write.
    """

    def __init__(self) -> None:
        self.file, self.at = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)  # [places]
        self.sizes = dict[int, int]()  # tokens of each file that counts, by its number
        self._newest = 0

    def write(self, shelf: Shelf, put: Put) -> None:
        """Write rows that no file holds, and the live ones of files that are not kept."""
        columns = shelf.columns
        more = np.zeros(len(columns.alive) - len(self.file), dtype=np.int32)
        self.file, self.at = np.concatenate([self.file, more]), np.concatenate([self.at, more])
        rows = np.flatnonzero(columns.alive)
        new = columns.serial[rows] > self._newest
        kept = rows[~new]
        live = np.bincount(self.file[kept], weights=columns["length"][kept], minlength=max(self.sizes, default=0) + 1)
        if dead := not_kept(self.sizes, live, _TOKENS):
            new |= np.isin(self.file[rows], dead)
            self.sizes = {number: size for number, size in self.sizes.items() if number not in dead}
        self._put(shelf, rows[new], put)
        self._newest = int(columns.serial.max())

    def _put(self, shelf: Shelf, rows: np.ndarray, put: Put) -> None:
        """By problem and age, the order in which they are read, so that whole stretches are read at once."""
        columns = shelf.columns
        rows = rows[np.lexsort((columns.serial[rows], columns["problem"][rows]))]
        ends = np.cumsum(columns["length"][rows], dtype=np.int64)
        first, written = 0, 0
        while first < len(rows):
            last = max(first + 1, int(np.searchsorted(ends, written + _TOKENS, side="right")))
            some = rows[first:last]
            number = put("tokens", {"tokens": shelf.flat_tokens(some)})
            self.file[some] = number
            self.at[some] = ends[first:last] - written - columns["length"][some]
            self.sizes[number] = int(ends[last - 1]) - written
            first, written = last, int(ends[last - 1])
