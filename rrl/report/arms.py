"""Runs grouped into arms: same experiment, same overrides, different seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrl.report.load import Run
from rrl.report.stats import t_half_widths, t_interval
from rrl.sweep.record import HARMLESS
from rrl.visible import shown

STEPS, TOKENS = "progress/step", "progress/sampled_tokens"
_GRID_POINTS = 200  # of a mean curve: more than a plot's pixels can tell apart
_NOT_AN_ARM = ("seed", "experiment", "hydra", "name", "sweeps")  # override keys that do not make another arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One line of a comparison. runs: ordered by seed, finished ones only unless there is no other."""

    label: str
    runs: tuple[Run, ...]

    def finals(self, metric: str) -> list[float]:
        """The metric at the end of every run that has it, in order of seeds."""
        return [run.final[metric] for run in self.runs if metric in run.final]

    def mean(self, metric: str) -> tuple[float, float | None] | None:
        """Mean over seeds and half its 95 % t-interval (None for one seed); None where no run has it."""
        values = self.finals(metric)
        return t_interval(values) if values else None


def overrides_of(run: Run) -> dict[str, str]:
    """The overrides that tell arms apart, by key: ["seed=1", "+a.b=2"] -> {"a.b": "2"}."""
    pairs = [str(o).lstrip("+~").split("=", 1) for o in run.summary["overrides"]]
    return {p[0]: p[1] if len(p) > 1 else "" for p in pairs if _tells(p[0])}


def _tells(key: str) -> bool:
    first = key.split(".")[0].split("/")[0]
    return not {first, key} & {*_NOT_AN_ARM, *HARMLESS}


def group_arms(runs: Sequence[Run]) -> list[Arm]:
    """Arms in order of appearance, labelled by experiment and by the overrides that differ."""
    keyed: dict[tuple[str, tuple[tuple[str, str], ...]], list[Run]] = {}
    for run in runs:
        keyed.setdefault((run.name, tuple(sorted(overrides_of(run).items()))), []).append(run)
    common = set.intersection(*(set(pairs) for _, pairs in keyed)) if keyed else set()
    arms = []
    for (name, pairs), members in keyed.items():
        differing = " ".join(f"{k}={v}" for k, v in pairs if (k, v) not in common)
        finished = [r for r in members if r.finished] or members
        label = shown(f"{name} {differing}".strip())
        arms.append(Arm(label=label, runs=tuple(sorted(finished, key=lambda r: (r.seed, r.folder)))))
    return arms


def smoothed(y: np.ndarray, window: int) -> np.ndarray:
    """Centred running mean of ``window`` (odd) points, fewer at both ends. [0, 3, 0, 3], 3 -> [1.5, 1, 2, 1.5]."""
    reach = window // 2
    total = np.concatenate([[0.0], np.cumsum(y)])
    place = np.arange(len(y))
    first, last = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(y))
    return np.asarray((total[last] - total[first]) / (last - first))


def curve_of(run: Run, metric: str, axis: str, smooth: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) of one run, as plots show it; evaluations are few and exact, so they are never smoothed."""
    x, y = run.series(metric, axis)
    return x, y if metric.startswith("eval/") else smoothed(y, smooth)


def mean_curve(
    arm: Arm, metric: str, axis: str, smooth: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None:
    """Mean over the arm's runs on a common grid, where all of them have values.

    Args:
      smooth: records that a running mean takes together, odd; 1 = none.
    Returns:
      (x, mean, half width of the 95 % t-interval or None for one run); None where no run has it.
    """
    curves = [(x, y) for x, y in (curve_of(run, metric, axis, smooth) for run in arm.runs) if len(x)]
    if not curves:
        return None
    if len(curves) == 1:
        return curves[0][0], curves[0][1], None
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    grid = np.linspace(first, max(first, last), min(_GRID_POINTS, max(len(x) for x, _ in curves)))
    values = np.array([np.interp(grid, x, y) for x, y in curves])
    return grid, values.mean(axis=0), t_half_widths(values)


def place_of(run: Run, below: Path) -> str:
    """The run's folder as written in tables: relative to ``below`` where it lies there."""
    return str(run.folder.relative_to(below)) if run.folder.is_relative_to(below) else str(run.folder)
