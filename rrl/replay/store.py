"""The store: what is remembered of every problem, and what may be added to it.

Measured at a million entries, plain numpy columns beat embedded databases by 3 to 57 times in everything but
saving, and leave every weight where the draw needs it. ``shelf.py`` holds the rows, ``problem_table.py`` the
problems; ``sleep.py`` books outcomes, ``dedup.py`` finds near duplicates, ``eviction.py`` says who leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rrl.records import Candidates, Prefix
from rrl.replay.crowding import Crowding
from rrl.replay.dedup import relatives, unconverted
from rrl.replay.eviction import EARLY_UNTIL, KEEP, QUARANTINE, early, protects, worst
from rrl.replay.problem_table import ProblemTable
from rrl.replay.shelf import Shelf
from rrl.replay.sleep import NEVER, SleepRule, asleep
from rrl.types import Start

ORIGINS = ("rollout", "replay", "canonical")
_CANDIDATE_COLUMNS = ("depth", "depth_frac", "value", "value_std", "born_value", "tries", "conversions", "born_step",
                      "td")


class Added(NamedTuple):
    """What became of a proposal: "admitted", "refused_duplicate", "refused_worse" or "refused_retired"."""

    outcome: str
    evicted: int


class Store:
    """Prefixes of every problem, with what is known of them.

    Args:
        slots_per_problem: entries a problem may have, >= 1.
        capacity: entries in all, >= 1.
        dedup: "exact" refuses equal prefixes; "ancestor" also refuses extensions of an open, never converted
            one, and lets a newcomer take the place of its own never converted extensions.
        kappa: tries that a value is worth when the lowest posterior mean is looked for, > 0.
        early_frac: share of the room kept for states of the first third of the run, [0, 1].
        dead_after: failures in a row before a state sleeps.  nap_steps, nap_max: first and longest nap, steps.
        max_naps: naps in a row after which a state is first in line for eviction.
        retire_at: e_p from which a problem is parked; above 1 = never.  reopen_below: e_p that reopens it.
    """

    def __init__(
        self, *, slots_per_problem: int, capacity: int, dedup: str, kappa: float, early_frac: float, dead_after: int,
        nap_steps: int, nap_max: int, max_naps: int, retire_at: float, reopen_below: float,
    ) -> None:
        counts = {"slots_per_problem": slots_per_problem, "capacity": capacity, "dead_after": dead_after,
                  "nap_steps": nap_steps, "nap_max": nap_max, "max_naps": max_naps}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"replay.store.{name} is {count}; expected >= 1; "
                                 "use replay/schedule=none to train without replay")
        if dedup not in ("ancestor", "exact"):
            raise ValueError(f"replay.store.dedup is {dedup!r}; expected ancestor or exact")
        if not 0.0 <= early_frac <= 1.0:
            raise ValueError(f"replay.store.early_frac is {early_frac}; expected a number in [0, 1]")
        if kappa <= 0.0:
            raise ValueError(f"replay.store.kappa is {kappa}; expected > 0")
        if not 0.0 <= reopen_below <= retire_at or retire_at == 0.0:
            raise ValueError(f"replay.store.reopen_below is {reopen_below} and retire_at {retire_at}; expected "
                             "0 <= reopen_below <= retire_at and retire_at > 0 (above 1: never retire)")
        self.kappa = kappa
        self.sleep_rule = SleepRule(dead_after, nap_steps, nap_max)
        self.shelf = Shelf()
        self.problems = ProblemTable(retire_at=retire_at, reopen_below=reopen_below)
        self.step = NEVER + 1  # of the last write; only inspection reads it
        self._slots, self._capacity, self._by_ancestor = slots_per_problem, capacity, dedup == "ancestor"
        self._early_frac, self._max_naps = early_frac, max_naps
        self.last_evicted_problem = -1
        self._crowding = Crowding(max_naps=max_naps)
        self.changed = set[int]()  # problems whose chance in a draw may have changed, until a lottery takes them

    def __len__(self) -> int:
        return len(self.shelf)

    def unparked_rows(self, rows: np.ndarray | slice) -> np.ndarray:
        """Which of these places hold an entry that passed its filters, of a problem not parked, asleep or not."""
        c = self.shelf.columns
        parked = self.problems.columns["parked"][c["problem"][rows]]
        unparked: np.ndarray = c.alive[rows] & (c["status"][rows] == KEEP) & ~parked
        return unparked

    def open_rows(self, rows: np.ndarray | slice, step: int) -> np.ndarray:
        """Which of these places hold an entry that may be drawn at ``step``: kept, awake, problem not parked."""
        return self.unparked_rows(rows) & (self.shelf.columns["sleep_until"][rows] < step)

    def open_places(self, step: int) -> np.ndarray:
        """[places] the same of all places."""
        return self.open_rows(slice(None), step)

    def newest_score(self, step: int) -> int:
        """Step of the newest score among the states open at ``step``; ``step`` where none is open."""
        scored = self.shelf.columns["score_step"][self.open_places(step)]
        return int(scored.max()) if len(scored) else step

    def starts(self, rows: np.ndarray) -> list[Start]:
        """Where to restart from these entries."""
        numbers = self.shelf.columns["problem"][rows].tolist()
        tokens = self.shelf.token_rows(rows)
        return [Start(problem=self.problems.problem(n), prefix=t) for n, t in zip(numbers, tokens, strict=True)]

    def prefix(self, row: int) -> Prefix:
        """The entry as it was proposed, for filters that look at it again."""
        c, start = self.shelf.columns, self.starts(np.array([row]))[0]
        return Prefix(
            problem=start.problem, tokens=start.prefix, origin=ORIGINS[c["origin"][row]],
            born_step=int(c["born_step"][row]), born_value=float(c["born_value"][row]),
            depth_frac=float(c["depth_frac"][row]), parent=f"{int(c['parent'][row]):016x}",
        )

    def candidates(self, groups: Sequence[np.ndarray], step: int) -> list[Candidates]:
        """Columns of each group of entries (a group is of one problem), in one gather for all groups."""
        if not groups:
            return []
        c, p = self.shelf.columns, self.problems.columns
        rows = np.concatenate(groups)
        columns = {name: c[name][rows] for name in _CANDIDATE_COLUMNS}
        columns["score_age"], columns["idle"] = step - c["score_step"][rows], step - c["last_used"][rows]
        numbers = c["problem"][[group[0] for group in groups]]
        names = [self.problems.problem(number).id for number in numbers.tolist()]
        success, value = p["root_success"][numbers].tolist(), p["root_value"][numbers].tolist()
        result, first = [], 0
        for name, group, root_success, root_value in zip(names, groups, success, value, strict=True):
            last = first + len(group)
            mine = {column: values[first:last] for column, values in columns.items()}
            result.append(Candidates(problem=name, **mine, root_success=root_success, root_value=root_value))
            first = last
        return result

    def write_scores(self, rows: np.ndarray, mean: np.ndarray, std: np.ndarray, step: int) -> None:
        """Book a re-scoring of ``rows``."""
        c = self.shelf.columns
        c["value"][rows], c["value_std"][rows], c["score_step"][rows] = mean, std, step

    def set_kept(self, row: int, kept: bool) -> None:
        """Keep an entry, or quarantine it: never drawn until a person reviews it."""
        self.shelf.columns["status"][row] = KEEP if kept else QUARANTINE
        self.booked([int(self.shelf.columns["problem"][row])])

    def booked(self, numbers: Iterable[int]) -> None:
        """To be called once the columns of these problems, or of their entries, were written."""
        for number in numbers:
            self._crowding.recount(self.shelf, number)
            self.changed.add(number)

    def _moved(self, row: int, change: int) -> None:
        self.changed.add(self._crowding.moved(self.shelf.columns, row, change))

    def _remove(self, row: int) -> None:
        self._moved(row, -1)
        self.shelf.remove(row)

    def add(
        self, prefix: Prefix, key: str, *, done_frac: float, parent_reward: float, td: float, quarantined: bool
    ) -> Added:
        """Store a proposal unless its problem is retired, it is a duplicate, or a full quota holds only better ones."""
        number = self.problems.number(prefix.problem)
        if self.problems.retired(number):
            return Added("refused_retired", 0)
        if self.shelf.find(key) is not None:
            return Added("refused_duplicate", 0)
        evicted = 0
        if self._by_ancestor:
            ancestors, extensions = relatives(self.shelf, number, prefix.tokens)
            # A converted, sleeping or parked ancestor refuses nothing: else no cut of a replayed attempt is ever
            # admitted and restarts never get deeper.
            parked = bool(self.problems.columns["parked"][number])
            if not parked and any(not asleep(self.shelf.columns, row, prefix.born_step)
                                  for row in unconverted(self.shelf, ancestors)):
                return Added("refused_duplicate", 0)
            if not quarantined:
                subsumed = unconverted(self.shelf, extensions)
                evicted = len(subsumed)
                for row in subsumed:
                    self._remove(row)
        if len(self.shelf.rows_of(number)) >= self._slots or len(self.shelf) >= self._capacity:
            victim = None if quarantined else self._victim(number, prefix.born_value, done_frac < EARLY_UNTIL)
            if victim is None:  # a state that awaits review displaces nobody
                return Added("refused_worse", evicted)
            self._remove(victim)
            evicted += 1
        row = self.shelf.insert({
            "key": int(key, 16), "problem": number, "origin": ORIGINS.index(prefix.origin),
            "parent": int(prefix.parent, 16), "depth_frac": prefix.depth_frac, "born_step": prefix.born_step,
            "born_frac": done_frac, "born_value": prefix.born_value, "value": prefix.born_value, "value_std": 0.0,
            "score_step": prefix.born_step, "td": td, "tries": 0.0, "conversions": 0.0, "raw_tries": 0,
            "raw_conversions": 0, "fails_in_a_row": 0, "naps": 0, "sleep_until": NEVER, "last_used": prefix.born_step,
            "status": QUARANTINE if quarantined else KEEP, "parent_reward": parent_reward,
        }, prefix.tokens)
        self._moved(row, 1)
        return Added("admitted", evicted)

    def _victim(self, number: int, newcomer: float, newcomer_early: bool) -> int | None:
        """Who makes room: inside a full quota, else in the problem with most entries, round-robin."""
        c = self.shelf.columns
        own = np.array(self.shelf.rows_of(number), dtype=np.int64)
        if len(own) >= self._slots:
            protect = protects(int(early(c, own).sum()), self._early_frac * self._slots, newcomer_early)
            return worst(c, own, kappa=self.kappa, max_naps=self._max_naps, protect_early=protect, newcomer=newcomer)
        protect = protects(self._crowding.num_early, self._early_frac * self._capacity, newcomer_early)
        fullest = self._crowding.fullest(protect_early=protect, after=self.last_evicted_problem)
        if fullest is None:
            return None
        victim = worst(
            c, np.array(self.shelf.rows_of(fullest), dtype=np.int64), kappa=self.kappa, max_naps=self._max_naps,
            protect_early=protect,
            newcomer=newcomer if fullest == number else np.inf,  # posteriors of two problems do not compare
        )
        if victim is not None:
            self.last_evicted_problem = fullest
        return victim

    def rows(self) -> list[dict[str, Any]]:
        """One dict an entry, for people: reports and inspection."""
        c, parked, table = self.shelf.columns, self.problems.columns["parked"], []
        rows = self.shelf.all_rows()
        for row, start in zip(rows.tolist(), self.starts(rows), strict=True):
            number = int(c["problem"][row])
            status = ("quarantine" if c["status"][row] == QUARANTINE else "parked" if parked[number]
                      else "asleep" if asleep(c, row, self.step) else "open")
            table.append({
                "key": f"{int(c['key'][row]):016x}", "problem": start.problem.id,
                "task": start.problem.task, "tokens": list(start.prefix), "value": float(c["value"][row]),
                "born_value": float(c["born_value"][row]), "uses": int(c["raw_tries"][row]),
                "wins": int(c["raw_conversions"][row]), "born_step": int(c["born_step"][row]),
                "last_used": int(c["last_used"][row]), "status": status, "origin": ORIGINS[c["origin"][row]],
                "depth_frac": float(c["depth_frac"][row]),
            })
        return table

    def state_dict(self) -> dict[str, Any]:
        return {
            "shelf": self.shelf.state_dict(), "problems": self.problems.state_dict(self.shelf.problems),
            "step": self.step, "last_evicted_problem": self.last_evicted_problem,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.shelf.load_state_dict(state["shelf"])
        self.problems.load_state_dict(state["problems"], with_entries=self.shelf.problems)
        self.step, self.last_evicted_problem = int(state["step"]), int(state["last_evicted_problem"])
        self._crowding.rebuild(self.shelf)
        self.changed = set(range(len(self.problems)))
