"""One row a run: what it was, its last figures, and means over the run that explain them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rrl.report.arms import STEPS, overrides_of, place_of
from rrl.report.load import Run
from rrl.visible import csv_cell

COVERAGE = ("explore/hard_coverage_bare", "explore/hard_coverage_replayed")
MEANS = ("replay/right_prefix_frac", "replay/conversion", "value/auc_last_fresh", "eval/right_key_auc")
"""Metrics whose mean over the run foretells whether replay can help."""


def mean_of(run: Run, metric: str) -> float | None:
    """Mean over the run's records after value warm-up; None where it was never recorded."""
    steps, values = run.series(metric, STEPS)
    values = values[steps >= 0]
    return float(np.mean(values)) if len(values) else None


def write_csv(runs: Sequence[Run], path: Path, *, below: Path) -> None:
    """Write ``path``; folders are named relative to ``below``. Undefined figures are empty."""
    keys = sorted({k for run in runs for k in overrides_of(run)})
    finals = sorted({name for run in runs for name in run.final if name.startswith("eval/") or name in COVERAGE})
    header = ["experiment", "seed", "status", *keys, *finals, *(f"mean {m}" for m in MEANS)]
    header += ["steps", "sampled_tokens", "seconds", "commit", "device", "folder"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(csv_cell, header))
        for run in runs:
            s, overrides = run.summary, overrides_of(run)
            given, measured = [overrides.get(k, "") for k in keys], [_short(run.final.get(m)) for m in finals]
            means = [_short(mean_of(run, m)) for m in MEANS]
            made = [s["steps"], s["sampled_tokens"], s["seconds"], s.get("commit", ""), s.get("device", "")]
            row = [run.name, run.seed, s["status"], *given, *measured, *means, *made, place_of(run, below)]
            writer.writerow(map(csv_cell, row))


def _short(x: float | None) -> str:
    return "" if x is None else f"{x:.6g}"
