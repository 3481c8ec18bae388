"""Which problem owns most entries, kept up to date: a full store asks at every newcomer and must not count them all."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from rrl.replay.columns import Columns
from rrl.replay.eviction import EARLY_UNTIL, QUARANTINE, early
from rrl.replay.shelf import Shelf

_BLOCK = 512  # problems; about the root of their number, so that both levels are equally short


class Fullest:
    """A count of each problem, and for each count above 0 who has it: bits of blocks, and of problems in each block."""

    def __init__(self) -> None:
        self._counts = array("i")
        self._blocks, self._bits = dict[int, int](), dict[int, dict[int, int]]()
        self._most = 0

    def fill(self, counts: np.ndarray) -> None:
        """Replace all counts; ``counts[p]`` is problem p's."""
        self._blocks, self._bits, self._most = {}, {}, 0
        self._counts = array("i", counts.astype(np.int32).tobytes())
        for count in np.unique(counts[counts > 0]).tolist():
            packed = np.packbits(counts == count, bitorder="little").tobytes()
            rows = [packed[i : i + _BLOCK // 8] for i in range(0, len(packed), _BLOCK // 8)]
            self._bits[count] = {i: int.from_bytes(row, "little") for i, row in enumerate(rows) if any(row)}
            self._blocks[count] = sum(1 << block for block in self._bits[count])
            self._most = max(self._most, count)

    def put(self, problem: int, count: int) -> None:
        if problem >= len(self._counts):
            self._counts.frombytes(bytes(self._counts.itemsize * (problem + 1 - len(self._counts))))
        before, self._counts[problem] = self._counts[problem], count
        if before == count:
            return
        block, bit = problem // _BLOCK, 1 << problem % _BLOCK
        if before:
            self._leave(before, block, bit)
        if count:
            bits = self._bits.setdefault(count, {})
            bits[block] = bits.get(block, 0) | bit
            self._blocks[count] = self._blocks.get(count, 0) | 1 << block
        self._most = max(self._most, count)
        while self._most and self._most not in self._bits:
            self._most -= 1

    def _leave(self, count: int, block: int, bit: int) -> None:
        bits = self._bits[count]
        bits[block] ^= bit
        if not bits[block]:
            del bits[block]
            self._blocks[count] ^= 1 << block
            if not bits:
                del self._bits[count], self._blocks[count]

    def add(self, problem: int, change: int) -> None:
        """One more (1) or one less (-1)."""
        self.put(problem, (self._counts[problem] if problem < len(self._counts) else 0) + change)

    def behind(self, after: int) -> int | None:
        """Round-robin: the next problem behind ``after`` among those with the largest count; None where all are 0.

        Example: counts (2, 3, 3, 1), after 1 -> 2; after 2 -> 1.
        """
        if not self._most:
            return None
        blocks, bits = self._blocks[self._most], self._bits[self._most]
        block, place = divmod(after + 1, _BLOCK)
        if rest := bits.get(block, 0) >> place:
            return after + 1 + _lowest(rest)
        behind = blocks >> block + 1
        first = block + 1 + _lowest(behind) if behind else _lowest(blocks)
        return first * _BLOCK + _lowest(bits[first])

    def ahead(self, coming: Sequence[int], after: int) -> list[int]:
        """Which problems give way if each of ``coming`` gets one more entry, in order; no count stays changed.

        Example: counts (2, 3, 3, 1), one more each for 0, 3, 3, after 1 -> [2, 0, 1].
        """
        given = list[int]()
        for problem in coming:
            one = self.behind(after)
            if one is None:
                break
            self.add(one, -1)
            self.add(problem, 1)
            given.append(one)
            after = one
        for one, problem in zip(given, coming, strict=False):
            self.add(problem, -1)
            self.add(one, 1)
        return given


def _lowest(bits: int) -> int:
    """Place of the lowest bit that is set. 12 -> 2."""
    return (bits & -bits).bit_length() - 1


class Crowding:
    """Entries of each problem: all of them, and those that protection of early states leaves open to eviction.

    Counted when it is first asked who is fullest, which a store that has never been full does not ask.

    Args:
        max_naps: naps in a row after which even an early state may go.
    """

    def __init__(self, *, max_naps: int) -> None:
        self._max_naps = max_naps
        self._all: Fullest | None = None
        self._unprotected: Fullest | None = None
        self.num_early = 0

    def rebuild(self, shelf: Shelf) -> None:
        """Count early states again, and everything else when it is asked for."""
        self._all = self._unprotected = None
        self.num_early = int(early(shelf.columns, np.flatnonzero(shelf.columns.alive)).sum())

    def moved(self, problem: int, change: int, *, is_early: bool, gives_way: bool) -> None:
        """An entry came (1) or went (-1). ``gives_way``: protection of early states does not keep it."""
        self.num_early += change * is_early
        if self._all:
            self._all.add(problem, change)
        if self._unprotected and gives_way:
            self._unprotected.add(problem, change)

    def leaves(self, columns: Columns, row: int) -> None:
        """This entry is about to go."""
        is_early = bool(columns["born_frac"][row] < EARLY_UNTIL)
        kept = is_early and columns["status"][row] != QUARANTINE and columns["naps"][row] < self._max_naps
        self.moved(int(columns["problem"][row]), -1, is_early=is_early, gives_way=not kept)

    def recount(self, shelf: Shelf, problem: int) -> None:
        """Count one problem's entries again."""
        rows = shelf.rows_of(problem)
        if self._all:
            self._all.put(problem, len(rows))
        if self._unprotected:
            self._unprotected.put(problem, int(np.count_nonzero(self._open(shelf, np.array(rows, dtype=np.int64)))))

    def fullest(self, shelf: Shelf, *, protect_early: bool, after: int) -> int | None:
        """The problem that gives an entry up, None where no entry may go. ``after``: the one that gave the last."""
        return self._count(shelf, protect_early).behind(after)

    def ahead(self, shelf: Shelf, coming: Sequence[int], *, protect_early: bool, after: int) -> list[int]:
        """Which problems give way if every newcomer is let in."""
        return self._count(shelf, protect_early).ahead(coming, after)

    def _count(self, shelf: Shelf, protect_early: bool) -> Fullest:
        known = self._unprotected if protect_early else self._all
        if known is None:
            rows, known = np.flatnonzero(shelf.columns.alive), Fullest()
            rows = rows[self._open(shelf, rows)] if protect_early else rows
            known.fill(np.bincount(shelf.columns["problem"][rows], minlength=1))
            self._all, self._unprotected = (self._all, known) if protect_early else (known, self._unprotected)
        return known

    def _open(self, shelf: Shelf, rows: np.ndarray) -> np.ndarray:
        c = shelf.columns
        opened: np.ndarray = (
            (c["status"][rows] == QUARANTINE) | (c["naps"][rows] >= self._max_naps) | ~early(c, rows)
        )
        return opened
