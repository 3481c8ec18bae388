"""Arms that differ in exactly two ways, laid out as a grid: one Markdown table and one heat-map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from rrl.report.arms import Arm, overrides_of

_INK_TURNS = 0.55  # of the colour scale: numbers on darker cells are white


class Grid(NamedTuple):
    """Arms by the values of two keys, best row and best column first.

    row_key, column_key: what differs, e.g. "replay/selection".  values: [rows, columns] mean over seeds of the
    metric, NaN where an arm is missing.  seeds: the smallest and the largest number of runs behind a mean.
    """

    row_key: str
    column_key: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    seeds: tuple[int, int]


def grid_of(arms: Sequence[Arm], metric: str) -> Grid | None:
    """The grid that ``arms`` make, or None where they differ in one way or in more than two, or hardly cross.

    Arms that fill less than half of the cells, or no more than one line of them, are a list. The run's name counts as
    one way to differ ("experiment"). Rows and columns are ordered by their means over the cells that are there.
    """
    places = [{"experiment": arm.runs[0].name, **overrides_of(arm.runs[0])} for arm in arms]
    keys = sorted({key for place in places for key in place if len({p.get(key) for p in places}) > 1})
    if len(keys) != 2:
        return None
    cells = {(p.get(keys[0], "-"), p.get(keys[1], "-")): arm for p, arm in zip(places, arms, strict=True)}
    names = [list(dict.fromkeys(cell[axis] for cell in cells)) for axis in (0, 1)]
    if len(cells) <= max(map(len, names)) or 2 * len(cells) < len(names[0]) * len(names[1]):
        return None
    longer = int(len(names[1]) > len(names[0]))  # down the page there is more room than across
    keys, names = (keys[::-1], names[::-1]) if longer else (keys, names)
    values = np.full((len(names[0]), len(names[1])), np.nan)
    for cell, arm in cells.items():
        row, column = cell[::-1] if longer else cell
        mean = arm.mean(metric)
        if mean is not None:
            values[names[0].index(row), names[1].index(column)] = mean[0]
    rows, columns = (_best_first(values, axis) for axis in (1, 0))
    counts = [len(arm.runs) for arm in arms]
    return Grid(
        row_key=keys[0],
        column_key=keys[1],
        rows=tuple(names[0][i] for i in rows),
        columns=tuple(names[1][i] for i in columns),
        values=values[np.ix_(rows, columns)],
        seeds=(min(counts), max(counts)),
    )


def grid_table(grid: Grid) -> str:
    """Markdown: a row a value of ``row_key``, means at the edges, the best cell in bold."""
    best, whole = np.nanmax(grid.values), np.nanmean(grid.values)
    header = [f"`{grid.row_key}` \\ `{grid.column_key}`", *grid.columns, "mean"]
    lines = [header, ["---"] * len(header)]
    for name, row in zip(grid.rows, grid.values, strict=True):
        lines.append([name, *(_cell(x, bold=bool(x == best)) for x in row), _cell(_mean(row))])
    lines.append(["mean", *(_cell(_mean(column)) for column in grid.values.T), _cell(float(whole))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw_grid(grid: Grid, path: Path, *, title: str) -> None:
    """The same numbers as a heat-map, 0 to 1, in colours that also read in grey."""
    with mpl.rc_context({"font.size": 9, "figure.constrained_layout.use": True}):
        figure = Figure(figsize=(2.6 + 0.62 * len(grid.columns), 1.9 + 0.34 * len(grid.rows)))
        axes = figure.subplots()
        image = axes.imshow(grid.values, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
        for (row, column), x in np.ndenumerate(grid.values):
            ink = "black" if np.isnan(x) or x > _INK_TURNS else "white"
            axes.text(column, row, _cell(x), ha="center", va="center", color=ink, fontsize=8)
        axes.set_xticks(range(len(grid.columns)), grid.columns, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(grid.rows)), grid.rows)
        axes.set_xlabel(grid.column_key)
        axes.set_ylabel(grid.row_key)
        axes.set_title(title)
        figure.colorbar(image, ax=axes, shrink=0.8)
        figure.savefig(path, dpi=130)


def _best_first(values: np.ndarray, axis: int) -> list[int]:
    means = [_mean(line) for line in (values if axis == 1 else values.T)]
    return sorted(range(len(means)), key=lambda i: (-np.nan_to_num(means[i], nan=-1.0), i))


def _mean(line: np.ndarray) -> float:
    there = line[~np.isnan(line)]
    return float(there.mean()) if len(there) else float("nan")


def _cell(x: float, *, bold: bool = False) -> str:
    if np.isnan(x):
        return "-"
    return f"**{x:.2f}**" if bold else f"{x:.2f}"
