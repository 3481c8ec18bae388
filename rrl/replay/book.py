"""Books a step's outcomes: success rates of problems, tries of states, retirement, converted answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rrl.protocols import Filter
from rrl.replay.judge import judge
from rrl.replay.observe import Seen, tally
from rrl.replay.sleep import book_tries
from rrl.replay.store import Store


def book(
    store: Store, seen: Sequence[Seen], *, step: int, root_decay: float, posterior_decay: float,
    filters: Mapping[str, Filter],
) -> list[float]:
    """Book a batch, grouped by problem (fresh rows) and by state (replayed rows).

    A false positive of the task's scorer may show only now, so filters look again at what converted: a state that
    they do not keep is quarantined and its answer forgotten.

    Args:
        root_decay: weight of the past in e_p after one more fresh row.
        posterior_decay: weight of the past after one more try of a state.

    Returns:
        e_p, before this batch, of the problem of each solved replayed row.
    """
    problems, entries = store.problems, store.shelf.columns
    converted = [s for s in seen if s.attempt.start.replayed and s.attempt.solved]
    root_success: list[float] = problems.columns["root_success"][[s.problem for s in converted]].tolist()
    fresh = tally([(s.problem, s.attempt.solved) for s in seen if not s.attempt.start.replayed])
    problems.book_fresh(fresh.of, fresh.rows, fresh.solved, root_decay)
    states = tally([(s.row, s.attempt.solved) for s in seen if s.row is not None])
    book_tries(entries, states.of, states.rows, states.solved, step=step, decay=posterior_decay, rule=store.sleep_rule)
    np.add.at(problems.columns["replays"], entries["problem"][states.of], 1)
    for attempt, number, row in converted:
        if row is None or judge(filters, store.prefix(row), attempt).action == "keep":
            problems.converted[number] = attempt.response
        else:
            store.set_kept(row, False)
    return root_success
