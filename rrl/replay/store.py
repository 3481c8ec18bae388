"""The store: what is remembered of every problem, and what may be added to it.

Measured at a million entries, plain numpy columns beat embedded databases by 3 to 57 times in everything but
saving, and leave every weight where the draw needs it. ``shelf.py`` holds the rows, ``problem_table.py`` the
problems; ``sleep.py`` books outcomes, ``dedup.py`` finds near duplicates, ``eviction.py`` says who leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from rrl.records import ORIGINS, Candidates, Prefix
from rrl.replay.crowding import Crowding
from rrl.replay.eviction import KEEP, QUARANTINE
from rrl.replay.intake import Added, Intake, Proposal
from rrl.replay.line import Rules
from rrl.replay.problem_table import ProblemTable
from rrl.replay.shelf import Shelf
from rrl.replay.sleep import NEVER, SleepRule, asleep
from rrl.types import Start

CANDIDATE_COLUMNS = ("depth", "depth_frac", "value", "value_std", "born_value", "score_age", "tries", "conversions",
                     "born_step", "idle", "td")
_AGES = {"score_age": "score_step", "idle": "last_used"}  # steps since


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
        self.rules = Rules(slots_per_problem, capacity, dedup == "ancestor", early_frac, max_naps, kappa)
        self.last_evicted_problem = -1
        self.crowding = Crowding(max_naps=max_naps)
        self.changed = set[int]()  # problems whose chance in a draw may have changed, until a lottery takes them

    def __len__(self) -> int:
        return len(self.shelf)

    def unparked_rows(self, rows: np.ndarray | slice) -> np.ndarray:
        """Which of these places hold an entry that passed its filters, of a problem not parked, asleep or not."""
        c, parked = self.shelf.columns, self.problems.columns["parked"]
        unparked: np.ndarray = c.alive[rows] & (c["status"][rows] == KEEP)
        return unparked & ~parked[c["problem"][rows]] if parked.any() else unparked

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

    def candidate_column(self, name: str, rows: np.ndarray, step: int) -> np.ndarray:
        """One of the columns of ``Candidates``, in the width that selections compute in."""
        column = self.shelf.columns[_AGES.get(name, name)][rows]
        wide: np.ndarray = column.astype(np.int64) if column.dtype.kind == "i" else column
        return step - wide if name in _AGES else wide

    def candidates(self, groups: Sequence[np.ndarray], step: int) -> list[Candidates]:
        """Columns of each group of entries (a group is of one problem), in one gather for all groups."""
        if not groups:
            return []
        c, p = self.shelf.columns, self.problems.columns
        rows = np.concatenate(groups)
        columns = {name: self.candidate_column(name, rows, step) for name in CANDIDATE_COLUMNS}
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

    def candidates_of_many(self, rows: np.ndarray, reads: Collection[str], step: int) -> Candidates:
        """Entries of any problems for a selection that ranks row by row; columns that it does not read are zeros."""
        p, numbers = self.problems.columns, self.shelf.columns["problem"][rows]
        zeros = {"i": np.zeros(len(rows), dtype=np.int64), "f": np.zeros(len(rows))}
        for blank in zeros.values():
            blank.setflags(write=False)  # several columns are one array
        columns = {
            name: self.candidate_column(name, rows, step) if name in reads
            else zeros[self.shelf.columns[_AGES.get(name, name)].dtype.kind]
            for name in CANDIDATE_COLUMNS
        }  # fmt: skip
        success, value = (p[name][numbers] if name in reads else 0.0 for name in ("root_success", "root_value"))
        return Candidates(problem="", **columns, root_success=success, root_value=value)

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
            self.crowding.recount(self.shelf, number)
            self.changed.add(number)

    def add(
        self, proposals: Sequence[Proposal], *, done_frac: float, judged: Callable[[int], str],
        td: Callable[[int], float],
    ) -> list[Added]:
        """Store proposals, in order, unless their problem is retired, they are duplicates, are judged to be dropped,
        or a full quota holds only better ones. Arguments as those of ``Intake``."""
        intake = Intake(self.shelf, self.problems, self.crowding, self.rules, self.last_evicted_problem, self.changed,
                        proposals, done_frac=done_frac, judged=judged, td=td)
        added = intake.run()
        self.last_evicted_problem = intake.last_evicted
        return added

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
        self._check_room()
        self.step, self.last_evicted_problem = int(state["step"]), int(state["last_evicted_problem"])
        self.crowding.rebuild(self.shelf)
        self.changed = set(range(len(self.problems)))

    def _check_room(self) -> None:
        """Raise ValueError where an entry leaves its problem's response no room, as a ``Start`` would."""
        owners = self.shelf.problems
        rows, counts = self.shelf.rows_of_many(owners)
        limits = np.repeat(np.array([self.problems.problem(n).max_response for n in owners], dtype=np.int64), counts)
        if (full := self.shelf.columns["depth"][rows] >= limits).any():
            number = int(self.shelf.columns["problem"][rows[np.argmax(full)]])
            raise ValueError(f"a stored prefix of {self.problems.problem(number).id!r} has as many tokens as a "
                             "response to it may have; expected fewer")
