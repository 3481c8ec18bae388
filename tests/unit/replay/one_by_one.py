"""Adding a proposal to a store as its rules read, one after another and from all columns: what ``Intake`` must equal."""

from __future__ import annotations

import numpy as np

from rrl.records import ORIGINS, Prefix
from rrl.replay.crowding import Crowding
from rrl.replay.eviction import EARLY_UNTIL, KEEP, QUARANTINE, early, protects
from rrl.replay.intake import Added
from rrl.replay.posterior import posterior_mean
from rrl.replay.sleep import NEVER, asleep
from rrl.replay.store import Store
from tests.unit.replay.builders import remove


def worst_row(store: Store, rows: list[int], *, protect_early: bool, newcomer: float) -> int | None:
    """The entry of one problem that gives way, oldest first given; None if the newcomer must."""
    c, some = store.shelf.columns, np.array(rows, dtype=np.int64)
    quarantined = c["status"][some] == QUARANTINE
    if quarantined.any():
        return int(some[np.argmax(quarantined)])
    worn_out = c["naps"][some] >= store.rules.max_naps
    if worn_out.any():
        some, newcomer = some[worn_out], np.inf
    elif protect_early:
        some = some[~early(c, some)]
    if not len(some):
        return None
    mean = posterior_mean(c["conversions"][some], c["tries"][some], c["value"][some], store.kappa)
    low = np.flatnonzero(mean == mean.min())
    low = low[np.argsort(-c["born_step"][some[low]], kind="stable")]
    return int(some[low[0]]) if newcomer > mean[low[0]] else None


def add_singly(store: Store, prefix: Prefix, *, done_frac: float, verdict: str, td: float, reward: float) -> Added:
    shelf, c, rules, problems = store.shelf, store.shelf.columns, store.rules, store.problems
    number = problems.number(prefix.problem)
    if problems.retired(number):
        return Added("refused_retired", 0)
    if shelf.find(prefix.key) is not None:
        return Added("refused_duplicate", 0)
    if verdict == "drop":
        return Added("refused_filter", 0)
    stored = {row: tuple(shelf.tokens(row).tolist()) for row in shelf.rows_of(number)}
    evicted, quarantined, mine = 0, verdict == "quarantine", prefix.tokens
    if rules.by_ancestor:
        unconverted = [row for row in stored if c["status"][row] == KEEP and c["raw_conversions"][row] == 0]
        above = [row for row in unconverted if mine[: len(stored[row])] == stored[row]]
        if not problems.columns["parked"][number] and not all(asleep(c, row, prefix.born_step) for row in above):
            return Added("refused_duplicate", 0)
        below = [row for row in unconverted if stored[row][: len(mine)] == mine] if not quarantined else []
        for row in below:
            remove(store, row)
        evicted = len(below)
    if len(shelf.rows_of(number)) >= rules.slots_per_problem or len(store) >= rules.capacity:
        victim = None if quarantined else _victim(store, number, prefix.born_value, done_frac < EARLY_UNTIL)
        if victim is None:
            return Added("refused_worse", evicted)
        remove(store, victim)
        evicted += 1
    row = shelf.reserve(number)
    shelf.write(np.array([row]), {
        "key": np.array([int(prefix.key, 16)], dtype=np.uint64), "problem": number,
        "origin": ORIGINS.index(prefix.origin), "parent": np.array([int(prefix.parent, 16)], dtype=np.uint64),
        "depth_frac": prefix.depth_frac, "born_step": prefix.born_step, "born_frac": done_frac,
        "born_value": prefix.born_value, "value": prefix.born_value, "value_std": 0.0, "score_step": prefix.born_step,
        "td": td, "tries": 0.0, "conversions": 0.0, "raw_tries": 0, "raw_conversions": 0, "fails_in_a_row": 0,
        "naps": 0, "sleep_until": NEVER, "last_used": prefix.born_step, "status": QUARANTINE if quarantined else KEEP,
        "parent_reward": reward,
    }, np.array(mine, dtype=np.int32), np.array([len(mine)]))
    store.booked([number])
    return Added("admitted", evicted)


def _victim(store: Store, number: int, newcomer: float, newcomer_early: bool) -> int | None:
    shelf, rules = store.shelf, store.rules
    own = list(shelf.rows_of(number))
    if len(own) >= rules.slots_per_problem:
        num_early = int(early(shelf.columns, np.array(own)).sum())
        protect = protects(num_early, rules.early_frac * rules.slots_per_problem, newcomer_early)
        return worst_row(store, own, protect_early=protect, newcomer=newcomer)
    counted = Crowding(max_naps=rules.max_naps)
    counted.rebuild(shelf)
    protect = protects(counted.num_early, rules.early_frac * rules.capacity, newcomer_early)
    fullest = counted.fullest(shelf, protect_early=protect, after=store.last_evicted_problem)
    if fullest is None:
        return None
    victim = worst_row(store, list(shelf.rows_of(fullest)), protect_early=protect,
                       newcomer=newcomer if fullest == number else np.inf)
    if victim is not None:
        store.last_evicted_problem = fullest
    return victim
