"""Reads run folders: metrics.jsonl, summary.json, config.yaml and tables/prefixes.jsonl.

Everything a report shows comes through here, from files alone: no model, no torch. What is torn, damaged or of
another version is left out and noted; only a folder without one readable record is an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rrl.metrics import CATALOGUE
from rrl.reading import json_of
from rrl.visible import shown

_MARKS = ("metrics.jsonl", "summary.json", "done.json")  # any of them makes a folder a run folder
_COUNTS = ("value", "uses", "wins", "born_step", "age_steps", "depth_frac")  # columns of tables/prefixes.jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as its folder tells it.

    records: metrics by name, one dict a step in file order, lines of one step merged.  summary:
    summary.json, or what can be said without it.  prefixes: the stored prefixes, with ``age_steps``.
    turned: replayed prefixes that turned from failing to solved.
    notes: what a reader of the report should know.
    """

    folder: Path
    summary: dict[str, Any]
    records: tuple[dict[str, float], ...]
    prefixes: tuple[dict[str, Any], ...]
    turned: tuple[dict[str, Any], ...]
    config: str
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        return shown(str(self.summary["name"]))

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
      ValueError: no such folder, metrics.jsonl missing or without one readable record; each with what to do.
    """
    if not folder.is_dir():
        raise ValueError(f"run folder {str(folder)!r} does not exist; expected a folder with metrics.jsonl in it")
    path = folder / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} has no metrics.jsonl; was it trained with tracker=[jsonl,...]?")
    lines, notes = _read_jsonl(path)
    records, odd = _records(lines, path)
    if not records:
        why = "; ".join(notes + odd) or "the run stopped before its first record; look into its log"
        raise ValueError(f"{str(path)!r} is empty: {why}")
    summary, remark = _summary(folder, records)
    prefixes, torn = _table(folder, "prefixes")
    turned, torn_too = _table(folder, "turned")
    config = folder / "config.yaml"
    return Run(
        folder=folder,
        summary=summary,
        records=tuple(records),
        prefixes=tuple(_aged(row, summary) for row in prefixes),
        turned=tuple(turned),
        config=config.read_text(encoding="utf-8", errors="replace") if config.is_file() else "",
        notes=tuple(notes + odd + remark + torn + torn_too),
    )


def _table(folder: Path, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    path = folder / "tables" / f"{name}.jsonl"
    return _read_jsonl(path) if path.is_file() else ([], [])


def _aged(row: dict[str, Any], summary: dict[str, Any]) -> dict[str, Any]:
    """A stored prefix with its age at the end of the run, where it says when it was born; a count that another version
    wrote in another form is left out."""
    row = {k: v for k, v in row.items() if k not in _COUNTS or _is_number(v)}
    return {"age_steps": summary["steps"] - row["born_step"], **row} if _is_number(row.get("born_step")) else row


def decisions_of(folder: Path) -> dict[str, str]:
    """Key of a stored prefix -> what people decided on it, as far as review.jsonl in the run's folder can be read."""
    path = folder / "review.jsonl"
    lines = _read_jsonl(path)[0] if path.is_file() else []
    return {str(line["key"]): str(line["decision"]) for line in lines if line.get("key") and line.get("decision")}


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


def unstarted(folders: Sequence[Path]) -> list[Path]:
    """Job folders below ``folders`` in which no run left a mark: jobs that never came to their first record."""
    jobs = {p.parent for folder in folders for mark in (".hydra", "config.yaml") for p in folder.rglob(mark)}
    return sorted(job for job in jobs if not _is_run(job) and not {".hydra", "checkpoints"} & {*job.parts})


def _is_run(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)


def _read_jsonl(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """(objects, notes); lines that are no JSON object are left out, each file with one note."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    objects: list[dict[str, Any]] = []
    damaged: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json_of(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            objects.append(value)
        else:
            damaged.append(number)
    if damaged == [len(lines)]:  # no newline after it: the writer was killed in the middle
        return objects, [f"the last line of {path.name} is torn (the run was killed while writing) and left out"]
    return objects, [f"{path.name}: {_some(damaged)} cannot be read and left out"] if damaged else []


def _some(numbers: Sequence[int]) -> str:
    first = ", ".join(str(n) for n in numbers[:3])
    return f"line{'s' if len(numbers) > 1 else ''} {first}" + (f" and {len(numbers) - 3} more" if numbers[3:] else "")


def _records(lines: Sequence[dict[str, Any]], path: Path) -> tuple[list[dict[str, float]], list[str]]:
    """(records, notes): lines of one step as one record (an evaluation may be written after its training step); what
    has no place, or is not a finite number, is left out; names that this version does not know are noted."""
    by_step: dict[float, dict[str, float]] = {}
    lost, odd, placeless = 0, set[str](), 0
    for line in lines:
        numbers = {name: value for name, value in line.items() if _is_number(value)}
        odd |= line.keys() - numbers.keys()
        lost += len(line) - len(numbers)
        if not {"progress/step", "progress/sampled_tokens"} <= numbers.keys():
            placeless += 1
            continue
        by_step.setdefault(numbers["progress/step"], {}).update(numbers)
    notes = []
    if placeless:
        notes.append(f"{path.name}: {placeless} lines without progress/step and progress/sampled_tokens are left out")
    if lost:
        notes.append(f"{path.name}: {lost} values that are no finite number are left out ({_names(odd)})")
    if unknown := {name for record in by_step.values() for name in record} - CATALOGUE.keys():
        notes.append(f"recorded by another version: {len(unknown)} metrics not in the catalogue ({_names(unknown)})")
    return list(by_step.values()), notes


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _names(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")


def _summary(folder: Path, records: Sequence[dict[str, float]]) -> tuple[dict[str, Any], list[str]]:
    """(summary.json over what the records tell, notes); a run without one is unfinished."""
    last = records[-1]
    known: dict[str, Any] = {
        "name": folder.name, "seed": 0, "status": "unfinished", "final": {}, "expected": {}, "overrides": [],
        "versions": {}, "command": "", "commit": "", "device": "", "steps": int(last["progress/step"]),
        "sampled_tokens": int(last["progress/sampled_tokens"]),
        "seconds": sum(record.get("time/step_s", 0.0) for record in records),
    }  # fmt: skip
    path = folder / "summary.json"
    if not path.is_file():
        return known, ["no summary.json: the run has not ended, or was killed"]
    try:
        read = json_of(path.read_text(encoding="utf-8", errors="replace"))
        if not isinstance(read, dict):
            raise ValueError("not an object")
    except ValueError as error:
        return known, [f"summary.json cannot be read ({error}); what metrics.jsonl tells stands in for it"]
    notes = [] if read.get("status") == "finished" else [f"the run's status is {read.get('status')!r}, not 'finished'"]
    fits = {k: v for k, v in read.items() if v is not None and (k not in known or _like(v, known[k]))}
    if odd := {k for k in known if read.get(k) is not None} - fits.keys():
        notes.append(f"summary.json: {_names(odd)} of another form than this version's, not used")
    if absent := known.keys() - read.keys():
        notes.append(f"summary.json has no {_names(absent)} (written by another version, or by hand)")
    summary = known | fits
    summary["final"] = {k: v for k, v in summary["final"].items() if _is_number(v)}
    pairs = {k: v for k, v in summary["expected"].items() if isinstance(v, list) and all(map(_is_number, v))}
    promised, summary["expected"] = summary["expected"], {k: v for k, v in pairs.items() if len(v) == 2}
    if wrong := promised.keys() - summary["expected"].keys():
        notes.append(f"summary.json: expected {_names(set(wrong))} is no [value, tolerance], not used")
    return summary, notes


def _like(value: Any, default: Any) -> bool:
    return _is_number(value) if isinstance(default, (int, float)) else isinstance(value, type(default))
