"""Books a step's outcomes: success rates of problems, tries of states, retirement, converted answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rrl.protocols import Filter
from rrl.replay.judge import KEPT, judge
from rrl.replay.observe import Seen, tally
from rrl.replay.sleep import book_tries
from rrl.replay.store import Store
from rrl.replay.surprise import surprise


class Booked(NamedTuple):
    """root_success: e_p, before this batch, of the problem of each solved replayed row.  refused: the filter behind
    each converted state that was not kept."""

    root_success: list[float]
    refused: list[str]


def book(
    store: Store, seen: Sequence[Seen], *, step: int, root_decay: float, posterior_decay: float,
    filters: Mapping[str, Filter],
) -> Booked:
    """Book a batch, grouped by problem (fresh rows) and by state (replayed rows).

    A false positive of the task's scorer may show only now, so filters look again at what converted: a state that
    they do not keep is quarantined, its answer forgotten, and the try counts as a failure.

    Args:
        root_decay: weight of the past in e_p after one more fresh row.
        posterior_decay: weight of the past after one more try of a state.
    """
    problems = store.problems
    converted = [s for s in seen if s.attempt.start.replayed and s.attempt.solved]
    rulings = [KEPT if s.row is None else judge(filters, store.prefix(s.row), s.attempt) for s in converted]
    root_success: list[float] = problems.columns["root_success"][[s.problem for s in converted]].tolist()
    fresh = tally([(s.problem, s.attempt.solved) for s in seen if not s.attempt.start.replayed])
    problems.book_fresh(fresh.of, fresh.rows, fresh.solved, root_decay)
    store.booked(fresh.of.tolist())
    _book_states(store, seen, {id(s.attempt) for s, ruling in zip(converted, rulings, strict=True) if ruling != KEPT},
                 step=step, decay=posterior_decay)
    for (attempt, number, row), ruling in zip(converted, rulings, strict=True):
        if row is None or ruling == KEPT:
            problems.converted[number] = attempt.response
        else:
            store.set_kept(row, False)
    return Booked(root_success, [ruling.by for ruling in rulings if ruling != KEPT])


def _book_states(store: Store, seen: Sequence[Seen], refused: set[int], *, step: int, decay: float) -> None:
    """Tries, conversions and surprises of the states that rows of this batch began from."""
    entries = store.shelf.columns
    tried = [s for s in seen if s.row is not None]
    states = tally([(s.row, s.attempt.solved and id(s.attempt) not in refused) for s in tried if s.row is not None])
    book_tries(entries, states.of, states.rows, states.solved, step=step, decay=decay, rule=store.sleep_rule)
    surprises = [surprise(s.attempt, len(s.attempt.start.prefix)) for s in tried]
    place = np.searchsorted(states.of, np.array([s.row for s in tried], dtype=np.int64))
    entries["td"][states.of] = np.bincount(place, weights=surprises, minlength=len(states.of)) / states.rows
    np.add.at(store.problems.columns["replays"], entries["problem"][states.of], 1)
    store.booked(np.unique(entries["problem"][states.of]).tolist())
