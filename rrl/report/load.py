"""Reads run folders: metrics.jsonl, summary.json, config.yaml and tables/prefixes.jsonl.

Everything a report shows comes through here, from files alone: no model, no torch. A torn last line
(a killed run) is left out and noted; anything else that is wrong is an error naming file and line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_MARKS = ("metrics.jsonl", "summary.json", "done.json")  # any of them makes a folder a run folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as its folder tells it.

    records: metrics by name, one dict a step in file order, lines of one step merged.  summary:
    summary.json, or what can be said without it.  prefixes: the stored prefixes, with ``age_steps``.
    notes: what a reader of the report should know.
    """

    folder: Path
    summary: dict[str, Any]
    records: tuple[dict[str, float], ...]
    prefixes: tuple[dict[str, Any], ...]
    config: str
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.summary["name"])

    @property
    def seed(self) -> int:
        return int(self.summary["seed"])

    @property
    def finished(self) -> bool:
        return bool(self.summary["status"] == "finished")

    @property
    def final(self) -> dict[str, float]:
        """Metrics at the end: the summary's, over the last recorded value of every other name."""
        last: dict[str, float] = {}
        for record in self.records:
            last.update(record)
        return {**last, **self.summary["final"]}

    def series(self, metric: str, axis: str) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) of ``metric`` where it was recorded; axis: "progress/step" or "progress/sampled_tokens"."""
        points = [(r[axis], r[metric]) for r in self.records if metric in r]
        x, y = np.array(points, dtype=float).reshape(-1, 2).T
        return x, y


def load_run(folder: Path) -> Run:
    """Read one run folder.

    Raises:
      ValueError: no such folder, metrics.jsonl missing, empty or damaged before its last line,
        summary.json damaged; each with what to do.
    """
    if not folder.is_dir():
        raise ValueError(f"run folder {str(folder)!r} does not exist; expected a folder with metrics.jsonl in it")
    path = folder / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} has no metrics.jsonl; was it trained with tracker=[jsonl,...]?")
    lines, notes = _read_jsonl(path)
    if not lines:
        raise ValueError(f"{str(path)!r} is empty: the run stopped before its first record; look into its log")
    summary, remark = _summary(folder, lines)
    table = folder / "tables" / "prefixes.jsonl"
    prefixes, torn = _read_jsonl(table) if table.is_file() else ([], [])
    config = folder / "config.yaml"
    return Run(
        folder=folder,
        summary=summary,
        records=tuple(_merged(lines, path)),
        prefixes=tuple(_aged(row, summary) for row in prefixes),
        config=config.read_text() if config.is_file() else "",
        notes=tuple(notes + remark + torn),
    )


def _aged(row: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    """A stored prefix with its age at the end of the run, where it says when it was born."""
    return {"age_steps": summary["steps"] - row["born_step"], **row} if "born_step" in row else row


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The run folders among and below ``folders``, in path order.

    Raises:
      ValueError: a folder that does not exist, or in which there is no run.
    """
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"folder {str(folder)!r} does not exist; expected a run folder or a sweep's folder")
        below = {folder} if _is_run(folder) else {p.parent for mark in _MARKS for p in folder.rglob(mark)}
        if not below:
            raise ValueError(f"no run below {str(folder)!r}; expected folders with metrics.jsonl in them")
        found |= below
    return sorted(found)


def _is_run(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)


def _read_jsonl(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """(objects, notes); a last line without its end is left out with a note."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    objects: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError("not an object")
        except ValueError as error:
            if number == len(lines):  # no newline after it: the writer was killed in the middle
                return objects, [
                    f"the last line of {path.name} is torn (the run was killed while writing) and left out"
                ]
            raise ValueError(f"{str(path)!r} line {number} is not a JSON object ({error}); delete that line") from error
        objects.append(value)
    return objects, []


def _merged(lines: Sequence[dict[str, Any]], path: Path) -> Iterator[dict[str, float]]:
    """Lines of one step as one record (an evaluation may be written after its training step)."""
    by_step: dict[float, dict[str, float]] = {}
    for line in lines:
        if "progress/step" not in line or "progress/sampled_tokens" not in line:
            raise ValueError(
                f"{str(path)!r} has a line without progress/step and progress/sampled_tokens: {str(line)[:80]}"
            )
        by_step.setdefault(line["progress/step"], {}).update(line)
    yield from by_step.values()


def _summary(folder: Path, lines: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """summary.json over what the records tell; a run without one is unfinished."""
    last = lines[-1]
    known: dict[str, Any] = {
        "name": folder.name,
        "seed": 0,
        "status": "unfinished",
        "final": {},
        "expected": {},
        "overrides": [],
        "versions": {},
        "command": "",
        "commit": "",
        "device": "",
        "steps": last.get("progress/step", 0),
        "sampled_tokens": last.get("progress/sampled_tokens", 0),
        "seconds": sum(line.get("time/step_s", 0.0) for line in lines),
    }
    path = folder / "summary.json"
    if not path.is_file():
        return known, ["no summary.json: the run has not ended, or was killed"]
    try:
        read = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{str(path)!r} is not JSON ({error}); delete it to report what metrics.jsonl holds"
        ) from error
    notes = [] if read.get("status") == "finished" else [f"the run's status is {read.get('status')!r}, not 'finished'"]
    return known | {k: v for k, v in read.items() if v is not None}, notes
