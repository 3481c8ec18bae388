"""What a selection that learns is told, and where its state goes; the others hear nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rrl.protocols import LearningSelection, Selection, Trial
from rrl.replay.observe import Seen, tally
from rrl.replay.store import Store


def trials_of(store: Store, seen: Sequence[Seen]) -> list[Trial]:
    """One for each stored state that rows of this batch began from."""
    tried = tally([(s.row, s.attempt.solved) for s in seen if s.row is not None])
    columns, problems = store.shelf.columns, store.problems
    return [
        Trial(problem=problems.problem(int(columns["problem"][row])).id, depth_frac=float(columns["depth_frac"][row]),
              rows=rows, solved=solved)
        for row, rows, solved in zip(tried.of.tolist(), tried.rows.tolist(), tried.solved.tolist(), strict=True)
    ]


def tell(selection: Selection, store: Store, seen: Sequence[Seen]) -> None:
    """Let a selection that learns hear what became of its picks."""
    if isinstance(selection, LearningSelection):
        selection.learn(trials_of(store, seen))


def state_of(selection: Selection) -> dict[str, Any]:
    """Its state for a checkpoint; empty where it does not learn."""
    return selection.state_dict() if isinstance(selection, LearningSelection) else {}


def load_state(selection: Selection, state: dict[str, Any]) -> None:
    """Restore what ``state_of`` gave."""
    if isinstance(selection, LearningSelection):
        selection.load_state_dict(state)
