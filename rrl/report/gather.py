"""All runs of a comparison, and in words what is missing from it: what a reader must know before trusting a mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rrl.report.arms import group_arms
from rrl.report.load import Run, find_runs, load_run, unstarted

_MOST_NOTES = 40  # of damaged or odd files; a page of notes hides its numbers
_TOLD_BY_STATUS = ("the run's status is", "no summary.json")


def read_runs(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """All readable runs among and below ``folders``, and notes on what is missing from the means.

    Raises:
      ValueError: no run can be read; the message says why for each.
    """
    runs, notes = [], []
    for folder in find_runs(folders):
        try:
            runs.append(load_run(folder))
        except ValueError as error:
            notes.append(f"left out: {error}")
    notes += [f"left out: {job} has not begun, or ended before its first record" for job in unstarted(folders)]
    if not runs:
        raise ValueError("no run can be read: " + "; ".join(notes))
    arms = group_arms(runs)
    for run in runs:
        if not run.finished and not any(run is r for arm in arms for r in arm.runs):
            notes.append(
                f"not in the means: {run.folder.name} ({run.name}, seed {run.seed}) is {run.summary['status']}"
            )
        elif not run.finished:
            notes.append(
                f"{run.folder.name} ({run.name}, seed {run.seed}) is {run.summary['status']}, as is all of its arm"
            )
    return runs, notes + _unequal(runs) + _damage(runs)


def _unequal(runs: Sequence[Run]) -> list[str]:
    """Versions or code states that differ between runs: a difference between arms may be one between them."""
    found = {"rrl": [str(run.summary["versions"].get("rrl", "unknown")) for run in runs],
             "torch": [str(run.summary["versions"].get("torch", "unknown")) for run in runs],
             "commit": [str(run.summary["commit"] or "unknown") for run in runs]}  # fmt: skip
    return [
        f"the runs are of different versions: {what} "
        + ", ".join(f"{v} ({values.count(v)} runs)" for v in dict.fromkeys(values))
        for what, values in found.items()
        if len(set(values)) > 1
    ]


def _damage(runs: Sequence[Run]) -> list[str]:
    notes = [f"{run.folder.name}: {n}" for run in runs for n in run.notes if not n.startswith(_TOLD_BY_STATUS)]
    more = len(notes) - _MOST_NOTES
    return notes[:_MOST_NOTES] + ([f"... and {more} more notes on damaged or odd files"] if more > 0 else [])
