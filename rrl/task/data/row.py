"""What a text task reads: one problem as text, where it came from, and what was wrong with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One problem.

    where: file and line, or data set and row.  prompt: what is asked.  answer: the gold answer alone.
    solution: text of a right response, with or without the answer's mark; "" = the answer alone will do;
    None = not known.  hard: its difficulty.  entry: what the grader needs besides, else {}.
    """

    where: str
    prompt: str
    answer: str
    solution: str | None
    hard: bool
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A row that cannot be used. where: as ``Row.where``.  why: in words."""

    where: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One split: rows in their own order, and bad ones."""

    rows: list[Row]
    bad: list[Bad]


class Data(Protocol):
    """Where a text task's problems come from. Law: pure in its arguments and the files it names."""

    def read(self, *, seed: int, num_train: int, num_heldout: int) -> tuple[Table, Table]:
        """(training, held-out). A source that makes problems makes as many as asked; a table gives all it has."""
        ...
