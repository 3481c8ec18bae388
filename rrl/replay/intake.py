"""A batch on its way into the store: what can be asked at once is asked first, decisions fall one by one, in order.

Adding one proposal after another costs 40 to 70 microseconds each, most of it in numpy calls on 16 rows. Here keys,
near duplicates and who would give way are found for the whole batch, and numbers and tokens are written together.
Every decision is the one that adding the proposals singly would take: what this batch has added or removed before is
kept in view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rrl.records import ORIGINS, Prefix
from rrl.replay.crowding import Crowding
from rrl.replay.dedup import Relatives, relatives, unconverted
from rrl.replay.eviction import EARLY_UNTIL, KEEP, QUARANTINE
from rrl.replay.line import Line, Rules
from rrl.replay.problem_table import ProblemTable
from rrl.replay.shelf import Shelf
from rrl.replay.sleep import NEVER, asleep

_NOBODY = Relatives([], [])


class Proposal(NamedTuple):
    """A prefix, its key, its tokens as ``starts.packed`` gives them, and the score of the attempt it was cut from."""

    prefix: Prefix
    key: str
    packed: bytes
    parent_reward: float


class Added(NamedTuple):
    """What became of a proposal: "admitted", "refused_duplicate", "refused_worse", "refused_retired" or
    "refused_filter"."""

    outcome: str
    evicted: int


class Intake:
    """One batch.

    Args:
        last_evicted: the problem that gave an entry to another one last.
        changed: takes the problems whose entries changed.
        done_frac: share of the token budget used.
        judged: proposal's place -> "keep", "quarantine" or "drop"; asked once, in order, and only about proposals
            that are neither stored already nor of a retired problem.
        td: place -> surprise, asked about those that are stored.
    """

    def __init__(
        self, shelf: Shelf, problems: ProblemTable, crowding: Crowding, rules: Rules, last_evicted: int,
        changed: set[int], proposals: Sequence[Proposal], *, done_frac: float, judged: Callable[[int], str],
        td: Callable[[int], float],
    ) -> None:
        self._shelf, self._problems, self._crowding, self._rules = shelf, problems, crowding, rules
        self._changed, self._proposals, self._judged, self._td = changed, proposals, judged, td
        self._done_frac, self._is_early = done_frac, done_frac < EARLY_UNTIL
        self._line = Line(shelf, crowding, rules, last_evicted, newcomers_early=self._is_early, settle=self._settle)
        self._numbers = [problems.number(p.prefix.problem) for p in proposals]
        self._tokens = np.frombuffer(b"".join([p.packed for p in proposals]), dtype="<i8").astype(np.int32)
        self._lengths = np.array([len(p.prefix.tokens) for p in proposals], dtype=np.int64)
        self._keys = np.array([int(p.key, 16) for p in proposals], dtype=np.uint64)
        self._retired = problems.retired_of(np.array(self._numbers, dtype=np.int64)).tolist()
        self._gone = set[int]()  # entries of before the batch that it removed
        self._came = dict[int, list[int]]()  # problem -> places of those that it added and kept
        self._row, self._place = dict[str, int](), dict[int, int]()  # of these: key -> row -> place
        self._unwritten = dict[int, bool]()  # places -> whether to be quarantined

    @property
    def last_evicted(self) -> int:
        """The problem that gave an entry to another one last, by now."""
        return self._line.last_evicted

    def run(self) -> list[Added]:
        """Decide on every proposal, in order."""
        if not self._proposals:
            return []
        found = self._shelf.find_many(self._keys).tolist()
        kin = dict[int, Relatives]()
        if self._rules.by_ancestor:
            kin = relatives(self._shelf, self._numbers, self._tokens, self._lengths)
        self._line.foresee(self._numbers)
        try:
            return [self._one(place, found[place], kin.get(place, _NOBODY)) for place in range(len(self._proposals))]
        finally:  # a filter may raise: what was decided before stays, whole
            self._write()

    def _one(self, place: int, found: int, kin: Relatives) -> Added:
        number, proposal = self._numbers[place], self._proposals[place]
        if self._retired[place]:
            return Added("refused_retired", 0)
        if proposal.key in self._row or (found >= 0 and found not in self._gone):
            return Added("refused_duplicate", 0)
        verdict = self._judged(place)
        if verdict == "drop":
            return Added("refused_filter", 0)
        quarantined, evicted = verdict == "quarantine", 0
        if self._rules.by_ancestor and (kin is not _NOBODY or number in self._came):
            # A converted, sleeping or parked ancestor refuses nothing: else no cut of a replayed attempt is ever
            # admitted and restarts never get deeper.
            above, below = self._unconverted(place, kin)
            step, parked = proposal.prefix.born_step, bool(self._problems.columns["parked"][number])
            if not parked and any(r in self._place or not asleep(self._shelf.columns, r, step) for r in above):
                return Added("refused_duplicate", 0)
            if not quarantined:
                evicted = len(below)
                for row in below:
                    self._remove(row, number)
        full = len(self._shelf.rows_of(number)) >= self._rules.slots_per_problem
        if full or len(self._shelf) >= self._rules.capacity:
            victim = None if quarantined else self._line.victim(number, proposal.prefix.born_value, full)
            if victim is None:  # a state that awaits review displaces nobody
                return Added("refused_worse", evicted)
            self._remove(*victim)
            evicted += 1
        self._insert(place, number, quarantined)
        return Added("admitted", evicted)

    def _unconverted(self, place: int, kin: Relatives) -> tuple[list[int], list[int]]:
        """Entries that it extends and that extend it, those kept and never solved from; this batch's own among them."""
        above, below = (unconverted(self._shelf, [r for r in rows if r not in self._gone]) for rows in kin)
        mine = self._proposals[place].prefix.tokens
        for other in self._came.get(self._numbers[place], ()):
            proposal = self._proposals[other]
            theirs, both = proposal.prefix.tokens, min(len(mine), self._lengths[other])
            row = self._row[proposal.key]
            if mine[:both] == theirs[:both] and self._is_kept(other, row):
                (above if len(theirs) < len(mine) else below).append(row)
        return above, below

    def _is_kept(self, place: int, row: int) -> bool:
        quarantined = self._unwritten.get(place)
        return not quarantined if quarantined is not None else bool(self._shelf.columns["status"][row] == KEEP)

    def _insert(self, place: int, number: int, quarantined: bool) -> None:
        proposal = self._proposals[place]
        row = self._shelf.reserve(number)
        self._came.setdefault(number, []).append(place)
        self._row[proposal.key], self._place[row] = row, place
        self._unwritten[place] = quarantined
        self._crowding.moved(number, 1, is_early=self._is_early, gives_way=not self._is_early or quarantined)
        self._changed.add(number)
        self._line.joined(number, row, proposal.prefix, quarantined)

    def _remove(self, row: int, number: int) -> None:
        place = self._place.pop(row, None)
        if place is None:
            self._gone.add(row)
        else:
            if place in self._unwritten:
                self._write()
            self._came[number].remove(place)
            del self._row[self._proposals[place].key]
        self._line.left(number)
        self._crowding.leaves(self._shelf.columns, row)
        self._changed.add(number)
        self._shelf.remove(row)

    def _settle(self, number: int) -> None:
        if any(place in self._unwritten for place in self._came.get(number, ())):
            self._write()

    def _write(self) -> None:
        """Numbers and tokens of those that were decided on since the last time."""
        if not self._unwritten:
            return
        places = list(self._unwritten)
        some = [self._proposals[place] for place in places]
        prefixes = [proposal.prefix for proposal in some]
        born, value = [p.born_step for p in prefixes], np.array([p.born_value for p in prefixes], dtype=np.float64)
        lengths, tokens = self._lengths[places], self._tokens
        if len(places) < len(self._proposals):
            ends = np.cumsum(self._lengths).tolist()
            tokens = np.concatenate([
                tokens[ends[place] - num : ends[place]] for place, num in zip(places, lengths.tolist(), strict=True)
            ])  # fmt: skip
        self._shelf.write(np.array([self._row[p.key] for p in some]), {
            "key": self._keys[places], "problem": [self._numbers[p] for p in places],
            "origin": [ORIGINS.index(p.origin) for p in prefixes],
            "parent": np.array([int(p.parent, 16) for p in prefixes], dtype=np.uint64),
            "depth_frac": [p.depth_frac for p in prefixes], "born_step": born, "born_frac": self._done_frac,
            "born_value": value, "value": value, "value_std": 0.0, "score_step": born,
            "td": [self._td(place) for place in places], "tries": 0.0, "conversions": 0.0, "raw_tries": 0,
            "raw_conversions": 0, "fails_in_a_row": 0, "naps": 0, "sleep_until": NEVER, "last_used": born,
            "status": [QUARANTINE if self._unwritten[p] else KEEP for p in places],
            "parent_reward": [p.parent_reward for p in some],
        }, tokens, lengths)
        self._unwritten.clear()
