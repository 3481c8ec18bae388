"""Reads an evaluation's folder: ``eval.json`` (how it was made) and ``samples.jsonl`` (one row a problem)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rrl.reading import read_json
from rrl.report.evaluation.form import check_record, check_rows
from rrl.shards import read_rows

SAMPLES, RECORD = "samples.jsonl", "eval.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """record: eval.json.  rows: one dict a problem, those that the reward left out among them (``dropped``)."""

    folder: Path
    record: dict[str, Any]
    rows: tuple[dict[str, Any], ...]

    @property
    def finished(self) -> bool:
        return len(self.rows) == int(self.record["request"]["num_problems"])

    @property
    def scored(self) -> list[dict[str, Any]]:
        """Rows that have responses."""
        return [row for row in self.rows if not row["dropped"]]

    @property
    def described(self) -> str:
        """Of which problems, in words."""
        request = self.record["request"]
        return f"{request['num_problems']} {request['split']} problems of {request['task']}, seed {request['seed']}"


def is_evaluation(folder: Path) -> bool:
    """Whether ``rrl-eval`` has written samples there."""
    return (folder / SAMPLES).is_file() and (folder / RECORD).is_file()


def load_evaluation(folder: Path) -> Evaluation:
    """Read a folder.

    Raises:
      ValueError: it is no evaluation's folder, or a file of it is damaged.
    """
    if not is_evaluation(folder):
        raise ValueError(f"{str(folder)!r} has no {SAMPLES} beside {RECORD}; expected a folder that rrl-eval wrote")
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(folder / RECORD)!r} is not JSON ({error})") from error
    record, rows = check_record(record, str(folder / RECORD)), read_rows(folder / SAMPLES)
    check_rows(rows, max([1, *record["k"]]), str(folder / SAMPLES))
    return Evaluation(folder=folder, record=record, rows=tuple(rows))


def problems_digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """A name for the problems of rows, in their order.

    A problem is its name, difficulty and answer; its prompt counts only where there is no answer, because another
    model's template or tokenizer spells the same question differently.
    """
    said = [(r["problem"], r["difficulty"], r["answer"] or r["prompt"]) for r in rows]
    return hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()
