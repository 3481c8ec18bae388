"""Who makes room for a newcomer: found for all problems of a batch at once, kept in view while the batch goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rrl.records import Prefix
from rrl.replay.crowding import Crowding
from rrl.replay.eviction import Worst, early, protects, worst
from rrl.replay.shelf import Shelf


class Rules(NamedTuple):
    """What a store may hold, as its arguments of the same names say."""

    slots_per_problem: int
    capacity: int
    by_ancestor: bool
    early_frac: float
    max_naps: int
    kappa: float


class Line:
    """Of each problem, the entry that gives way first.

    Args:
        last_evicted: the problem that gave an entry to another one last.
        newcomers_early: whether the batch belongs to the first third of the run.
        settle: writes the columns of this problem's new entries; called before they are read anew.
    """

    def __init__(
        self, shelf: Shelf, crowding: Crowding, rules: Rules, last_evicted: int, *, newcomers_early: bool,
        settle: Callable[[int], None],
    ) -> None:
        self._shelf, self._crowding, self._rules, self.last_evicted = shelf, crowding, rules, last_evicted
        self._is_early, self._settle = newcomers_early, settle
        self._worst = dict[tuple[int, bool], Worst]()  # (problem, its early states stay) -> who goes first
        self._early_of = dict[int, int]()  # problem -> how many of its states are early

    def foresee(self, numbers: Sequence[int]) -> None:
        """Ask in one pass about every problem that proposals of ``numbers`` may take an entry from."""
        rules, shelf, coming, protect = self._rules, self._shelf, Counter(numbers), self._protect()
        fills = len(shelf) + len(numbers) > rules.capacity
        own = [n for n, num in coming.items() if fills or len(shelf.rows_of(n)) + num > rules.slots_per_problem]
        ahead = list[int]()
        if fills:
            ahead = self._crowding.ahead(shelf, numbers, protect_early=protect, after=self.last_evicted)
        asked = [n for n in dict.fromkeys([*own, *ahead]) if shelf.rows_of(n)]
        if not asked:
            return
        rows, counts = shelf.rows_of_many(asked)
        num_early = np.add.reduceat(early(shelf.columns, rows), np.cumsum(counts) - counts, dtype=np.int64).tolist()
        self._early_of = dict(zip(asked, num_early, strict=True))
        stay = [
            protect if fills and count < rules.slots_per_problem else self._protect_own(number)
            for number, count in zip(asked, counts.tolist(), strict=True)
        ]  # fmt: skip
        first = worst(shelf.columns, rows, counts, np.array(stay), kappa=rules.kappa, max_naps=rules.max_naps)
        self._worst = dict(zip(zip(asked, stay, strict=True), first, strict=True))

    def victim(self, number: int, newcomer: float, full: bool) -> tuple[int, int] | None:
        """(entry, its problem) that makes room for a newcomer of ``number``, None where it must give way itself.

        Inside a full quota it is one of the problem's own, else of the problem with most entries, round-robin.

        Args:
            newcomer: its posterior mean.  full: whether the quota of ``number`` is.
        """
        if full:
            first = self._first(number, self._protect_own(number))
            return (first.row, number) if first.gives_way_to(newcomer) else None
        protect = self._protect()
        fullest = self._crowding.fullest(self._shelf, protect_early=protect, after=self.last_evicted)
        if fullest is None:
            return None
        first = self._first(fullest, protect)
        if not first.gives_way_to(newcomer if fullest == number else np.inf):  # posteriors of two do not compare
            return None
        self.last_evicted = fullest
        return first.row, fullest

    def joined(self, number: int, row: int, prefix: Prefix, quarantined: bool) -> None:
        """An entry came whose columns may not be written yet."""
        if number in self._early_of:
            self._early_of[number] += self._is_early
        kappa, value = self._rules.kappa, float(prefix.born_value)
        for protect in (False, True):
            if known := self._worst.get((number, protect)):
                kind = 3 if protect and self._is_early else 2
                mean = kappa * value / kappa  # as ``posterior_mean`` rounds it for a state without tries
                mine = Worst(0, 0.0, 0, row) if quarantined else Worst(kind, mean, -prefix.born_step, row)
                if mine[:3] < known[:3]:  # of equals the older one stands first
                    self._worst[number, protect] = mine

    def left(self, number: int) -> None:
        """An entry of this problem went."""
        for protect in (False, True):
            self._worst.pop((number, protect), None)
        self._early_of.pop(number, None)

    def _protect(self) -> bool:
        return protects(self._crowding.num_early, self._rules.early_frac * self._rules.capacity, self._is_early)

    def _protect_own(self, number: int) -> bool:
        if number not in self._early_of:
            self._settle(number)
            self._early_of[number] = int(early(self._shelf.columns, self._rows(number)).sum())
        at_least = self._rules.early_frac * self._rules.slots_per_problem
        return protects(self._early_of[number], at_least, self._is_early)

    def _first(self, number: int, protect: bool) -> Worst:
        if (number, protect) not in self._worst:
            self._settle(number)
            rows = self._rows(number)
            [self._worst[number, protect]] = worst(
                self._shelf.columns, rows, np.array([len(rows)]), np.array([protect]), kappa=self._rules.kappa,
                max_naps=self._rules.max_naps,
            )  # fmt: skip
        return self._worst[number, protect]

    def _rows(self, number: int) -> np.ndarray:
        return np.array(self._shelf.rows_of(number), dtype=np.int64)
