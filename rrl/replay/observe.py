"""What a batch of attempts says: canonical order, outcomes grouped by start, metrics of what was replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rrl.records import Attempt, Harvest, Progress
from rrl.replay.eviction import QUARANTINE
from rrl.replay.store import Store
from rrl.types import Metrics, sampled

HARD_BELOW = 0.05  # e_p under which a problem counts as unsolved from the bare prompt


class Seen(NamedTuple):
    """An attempt, the number of its problem, and the entry that it began from (None: fresh, or evicted since)."""

    attempt: Attempt
    problem: int
    row: int | None


class Outcomes(NamedTuple):
    """Distinct things (problems or entries), how many rows each had, how many of these were solved."""

    of: np.ndarray
    rows: np.ndarray
    solved: np.ndarray


def in_canonical_order(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Sorted by content, so that no later step can depend on the order in which rows arrived."""
    return sorted(attempts, key=lambda a: (a.start.problem.id, a.start.prefix, a.tokens, a.solved, a.score,
                                           a.value.tobytes()))


def locate(store: Store, attempts: Sequence[Attempt]) -> list[Seen]:
    """Number the problems (new ones in the given order) and find the entries."""
    return [
        Seen(a, store.problems.number(a.start.problem), store.shelf.find(a.start.key) if a.start.replayed else None)
        for a in attempts
    ]


def tally(pairs: Sequence[tuple[int, bool]]) -> Outcomes:
    """[(4, yes), (2, no), (4, no)] -> of (2, 4), rows (1, 2), solved (0, 1)."""
    index, inverse = np.unique(np.array([i for i, _ in pairs], dtype=np.int64), return_inverse=True)
    solved = np.bincount(inverse, weights=[s for _, s in pairs], minlength=len(index)).astype(np.int64)
    return Outcomes(index, np.bincount(inverse, minlength=len(index)), solved)


def replayed_metrics(store: Store, seen: Sequence[Seen], progress: Progress) -> Metrics:
    """What was replayed, before its outcomes are booked (``hard`` means hard when it was drawn)."""
    replayed = [s for s in seen if s.attempt.start.replayed]
    metrics: Metrics = {"replay/fraction": len(replayed) / len(seen)} if seen else {}
    if not replayed:
        return metrics
    solved = np.array([s.attempt.solved for s in replayed])
    hard = store.problems.columns["root_success"][[s.problem for s in replayed]] < HARD_BELOW
    metrics["replay/conversion"] = float(solved.mean())
    if hard.any():
        metrics["replay/hard_conversion"] = float(solved[hard].mean())
    prefixes = [(s.attempt.start.problem.solution, sampled(s.attempt.start.prefix)) for s in replayed]
    right = [solution[: len(prefix)] == prefix for solution, prefix in prefixes if solution]
    if right:
        metrics["replay/right_prefix_frac"] = float(np.mean(right))
    rows = [s.row for s in replayed if s.row is not None]
    if rows:
        columns = store.shelf.columns
        born = columns["born_step"][rows]
        metrics["replay/prefix_age_steps"] = float(np.mean(progress.step - born))
        metrics["replay/depth_frac"] = float(np.mean(columns["depth_frac"][rows]))
        metrics["replay/era_first_frac"] = float(np.mean(born < progress.step / 3.0))
    return metrics


def harvest_of(store: Store, seen: Sequence[Seen]) -> Harvest:
    """Tokens and hard solves of either stream, before the outcomes are booked."""
    success = store.problems.columns["root_success"]
    fresh, replayed = ([s for s in seen if s.attempt.start.replayed == wanted] for wanted in (False, True))
    tokens = [sum(s.attempt.num_sampled for s in rows) for rows in (fresh, replayed)]
    solved = [
        sum(s.attempt.solved and bool(success[s.problem] < HARD_BELOW) for s in rows) for rows in (fresh, replayed)
    ]  # fmt: skip
    return Harvest(fresh_tokens=tokens[0], fresh_solved=solved[0], replayed_tokens=tokens[1], replayed_solved=solved[1])


def harvest_metrics(harvest: Harvest) -> Metrics:
    """Hard solves per 1,000 sampled tokens, for the streams that had any."""
    sums = {"fresh": (harvest.fresh_solved, harvest.fresh_tokens),
            "replayed": (harvest.replayed_solved, harvest.replayed_tokens)}
    return {f"replay/yield_{name}": 1000.0 * solved / tokens for name, (solved, tokens) in sums.items() if tokens}


def store_metrics(store: Store, step: int) -> Metrics:
    """How much is remembered after ``step``, and how much of it may be drawn in the next."""
    columns, parked = store.shelf.columns, store.problems.columns["parked"]
    unparked = store.unparked_rows(slice(None))
    asleep = np.count_nonzero(unparked & (columns["sleep_until"] > step))
    return {
        "replay/store_size": float(len(store)),
        "replay/store_bytes": float(store.shelf.num_bytes),
        "replay/open_size": float(np.count_nonzero(unparked) - asleep),
        "replay/asleep": float(asleep),
        "replay/quarantined": float(np.count_nonzero(columns.alive & (columns["status"] == QUARANTINE))),
        "replay/retired_problems": float(parked.sum()),
    }
