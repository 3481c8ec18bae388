"""Rows for people to read: some of a step's rollouts, and any rows cut down to what a page can show."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rrl.records import Attempt, Progress
from rrl.types import plain


class Bounded(NamedTuple):
    """columns: of the first row.  data: one list a row.  left_out: rows that did not fit."""

    columns: list[str]
    data: list[list[Any]]
    left_out: int


def bounded(rows: Sequence[dict[str, Any]], *, max_rows: int, max_bytes: int, max_cell_chars: int) -> Bounded:
    """The first rows that fit, nested values as JSON text.

    Args:
      max_bytes: of all rows' UTF-8 text together.
      max_cell_chars: a longer text ends in "... and 12 characters more".
    """
    columns, data, spent = list(rows[0]) if rows else [], list[list[Any]](), 0
    for row in rows[:max_rows]:
        cells = [_cell(row.get(column), max_cell_chars) for column in columns]
        spent += sum(len(str(cell).encode("utf-8", "replace")) for cell in cells)
        if spent > max_bytes:
            break
        data.append(cells)
    return Bounded(columns, data, len(rows) - len(data))


def rollout_rows(
    attempts: Sequence[Attempt], progress: Progress, *, num: int, decode: Callable[[Sequence[int]], str]
) -> list[dict[str, Any]]:
    """At most ``num`` rollouts of a step with their text, half of them replayed where there are as many.

    They are spread evenly over the step's rows, a choice that is pure in the step: a resumed run shows the same ones.
    ``value`` is P(solved) before the first sampled token.
    """
    replayed = [a for a in attempts if a.start.replayed]
    fresh = [a for a in attempts if not a.start.replayed]
    num_replayed = min(len(replayed), max(num // 2, num - len(fresh)))
    chosen = _spread(fresh, num - num_replayed) + _spread(replayed, num_replayed)
    return [
        {
            "step": progress.step, "origin": "replayed" if a.start.replayed else "fresh",
            "problem": a.start.problem.id, "difficulty": a.start.problem.difficulty,
            "prompt": decode(a.start.problem.prompt), "prefix": decode(plain(a.start.prefix)),
            "response": decode(plain(a.tokens)), "score": float(a.score), "solved": bool(a.solved),
            "ended": bool(a.ended), "value": float(a.value[0]) if len(a.value) else None, "tokens": a.num_sampled,
        }
        for a in chosen
    ]  # fmt: skip


def _spread(rows: Sequence[Attempt], num: int) -> list[Attempt]:
    """[r0 .. r9], 4 -> r0, r3, r6, r9."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(num, len(rows))).round().astype(int))
    return [rows[place] for place in places]


def _cell(value: Any, max_chars: int) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    written = value if isinstance(value, str) else json.dumps(value)
    more = len(written) - max_chars
    return written if more <= 0 else f"{written[:max_chars]} ... and {more:,} characters more"
