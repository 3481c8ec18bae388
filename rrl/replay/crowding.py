"""Which problem owns most entries, kept up to date: a full store asks at every newcomer and must not count them all."""

from __future__ import annotations

import numpy as np

from rrl.replay.columns import Columns
from rrl.replay.eviction import EARLY_UNTIL, QUARANTINE, early
from rrl.replay.shelf import Shelf

_BLOCK = 512  # problems; about the root of their number, so that both levels are equally short


class Fullest:
    """A count of each problem, in blocks that know their largest."""

    def __init__(self) -> None:
        self._counts = np.zeros((1, _BLOCK), dtype=np.int32)
        self._most = np.zeros(1, dtype=np.int32)

    def fill(self, counts: np.ndarray) -> None:
        """Replace all counts; ``counts[p]`` is problem p's."""
        blocks = len(counts) // _BLOCK + 1
        self._counts = np.zeros((blocks, _BLOCK), dtype=np.int32)
        self._counts.reshape(-1)[: len(counts)] = counts
        self._most = self._counts.max(axis=1)

    def put(self, problem: int, count: int) -> None:
        block, place = divmod(problem, _BLOCK)
        if block >= len(self._counts):
            more = np.zeros((max(block + 1, 2 * len(self._counts)) - len(self._counts), _BLOCK), dtype=np.int32)
            self._counts, self._most = np.concatenate([self._counts, more]), np.append(self._most, more[:, 0])
        self._counts[block, place] = count
        self._most[block] = self._counts[block].max()

    def add(self, problem: int, change: int) -> None:
        """One more (1) or one less (-1)."""
        block, place = divmod(problem, _BLOCK)
        count = (int(self._counts[block, place]) if block < len(self._counts) else 0) + change
        if block < len(self._counts) and (change > 0 or count + 1 < self._most[block]):
            self._counts[block, place] = count
            self._most[block] = max(count, int(self._most[block]))
        else:
            self.put(problem, count)

    def behind(self, after: int) -> int | None:
        """Round-robin: the next problem behind ``after`` among those with the largest count; None where all are 0.

        Example: counts (2, 3, 3, 1), after 1 -> 2; after 2 -> 1.
        """
        most = int(self._most.max())
        if most == 0:
            return None
        block, place = divmod(after + 1, _BLOCK)
        if block < len(self._counts):
            found = np.flatnonzero(self._counts[block, place:] == most)
            if len(found):
                return block * _BLOCK + place + int(found[0])
        blocks = np.flatnonzero(self._most == most)
        behind = blocks[blocks > block]
        first = int(behind[0] if len(behind) else blocks[0])
        return first * _BLOCK + int(np.argmax(self._counts[first] == most))


class Crowding:
    """Entries of each problem: all of them, and those that protection of early states leaves open to eviction.

    Args:
        max_naps: naps in a row after which even an early state may go.
    """

    def __init__(self, *, max_naps: int) -> None:
        self._max_naps = max_naps
        self._all, self._unprotected = Fullest(), Fullest()
        self.num_early = 0

    def rebuild(self, shelf: Shelf) -> None:
        """Count everything again."""
        rows = np.flatnonzero(shelf.columns.alive)
        of = shelf.columns["problem"][rows]
        self._all.fill(np.bincount(of, minlength=1))
        self._unprotected.fill(np.bincount(of[self._open(shelf, rows)], minlength=1))
        self.num_early = int(early(shelf.columns, rows).sum())

    def moved(self, columns: Columns, row: int, change: int) -> int:
        """A row came (1) or is about to go (-1). Returns its problem."""
        problem, is_early = int(columns["problem"][row]), bool(columns["born_frac"][row] < EARLY_UNTIL)
        self._all.add(problem, change)
        self.num_early += change * is_early
        if not is_early or columns["status"][row] == QUARANTINE or columns["naps"][row] >= self._max_naps:
            self._unprotected.add(problem, change)
        return problem

    def recount(self, shelf: Shelf, problem: int) -> None:
        """Count one problem's entries again."""
        rows = shelf.rows_of(problem)
        self._all.put(problem, len(rows))
        num = int(np.count_nonzero(self._open(shelf, np.array(rows, dtype=np.int64)))) if rows else 0
        self._unprotected.put(problem, num)

    def fullest(self, *, protect_early: bool, after: int) -> int | None:
        """The problem that gives an entry up, None where no entry may go. ``after``: the one that gave the last."""
        return (self._unprotected if protect_early else self._all).behind(after)

    def _open(self, shelf: Shelf, rows: np.ndarray) -> np.ndarray:
        c = shelf.columns
        opened: np.ndarray = (
            (c["status"][rows] == QUARANTINE) | (c["naps"][rows] >= self._max_naps) | ~early(c, rows)
        )
        return opened
