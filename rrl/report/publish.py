"""A sweep as three files to commit: <stem>.csv (a row a run), <stem>.md and <stem>.png.

A row an arm and a dot a seed; where the arms are the product of two axes, a grid and a heat-map instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from rrl.report.arms import Arm, group_arms
from rrl.report.cost import HEADLINE
from rrl.report.dialogue import dialogue_section
from rrl.report.gather import read_runs
from rrl.report.grid import Grid, draw_grid, grid_of, grid_table
from rrl.report.load import Run
from rrl.report.runs_csv import mean_of, write_csv
from rrl.report.stats import t_interval

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_FINALS = {
    "hard success": HEADLINE, "greedy": "eval/hard_greedy", "capability": "eval/capability",
    "gap": "eval/capability_gap", "easy": "eval/easy_success", "hard ever solved": "explore/hard_coverage_bare",
}  # fmt: skip
_MEANS = {"right prefixes": "replay/right_prefix_frac", "critic AUC": "eval/right_key_auc"}


def publish(folders: Sequence[Path], stem: Path) -> list[Path]:
    """Write the three files of all runs below ``folders``; their paths.

    Raises:
      ValueError: no run can be read.
    """
    runs, notes = read_runs(folders)
    arms = group_arms(runs)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(s) for s in (".csv", ".md", ".png")]
    write_csv(runs, paths[0], below=folders[0])
    grid = grid_of(arms, HEADLINE)
    if grid is None:
        body = _list(arms)
        _draw(arms, paths[2])
    else:
        body = _product(grid)
        draw_grid(grid, paths[2], title="hard success at the end of the budget")
    paths[1].write_text(_page(arms, body, notes, stem), encoding="utf-8")
    return paths


def _page(arms: Sequence[Arm], body: str, notes: Sequence[str], stem: Path) -> str:
    runs = [run for arm in arms for run in arm.runs]
    return (
        f"# {stem.name.replace('_', ' ')}\n\n"
        "Means over seeds \u00b1 95 % t-interval (none for one seed), at "
        f"{max(r.summary['sampled_tokens'] for r in runs):,} sampled tokens or one step less. "
        f"{_hard_success(runs)}"
        f"{body}\n\n![hard success]({stem.name}.png)\n\n"
        + dialogue_section(arms) + "".join(f"- {note}\n" for note in notes) + _made(runs)
    )


def _hard_success(runs: Sequence[Run]) -> str:
    if any("rrl.evaluate.Sampled" in run.config for run in runs):
        return "`hard success` is the share of sampled responses to training problems that are solved (bare prompts)"
    return "`hard success` is the exact probability, at temperature 1, of the right response from the bare prompt"


def _product(grid: Grid) -> str:
    few, most = grid.seeds
    seeds = f"{few} seed{'s' if few > 1 else ''}" if few == most else f"{few} to {most} seeds"
    missing = int(np.isnan(grid.values).sum())
    return (
        f". Each cell is its mean over {seeds}; rows and columns are ordered by their means, the best cell is bold"
        + (f"; {missing} cells have no finished run" if missing else "")
        + f". A row a run, with all figures: `.csv` beside this page.\n\n{grid_table(grid)}"
    )


def _list(arms: Sequence[Arm]) -> str:
    runs = [run for arm in arms for run in arm.runs]
    finals = {k: m for k, m in _FINALS.items() if any(m in r.final for r in runs)}
    means = {k: m for k, m in _MEANS.items() if any(mean_of(r, m) is not None for r in runs)}
    rows = [["arm", "seeds", "hard success per seed", *finals, *means, "steps", "s a run"]]
    for arm in arms:
        each = " ".join(f"{x:.2f}" for x in arm.finals(HEADLINE))
        measured = [_cell(arm.finals(m)) for m in finals.values()]
        explained = [_cell([x for r in arm.runs if (x := mean_of(r, m)) is not None]) for m in means.values()]
        counts = [f"{_mean(arm, 'steps'):.0f}", f"{_mean(arm, 'seconds'):.0f}"]
        rows.append([arm.label, str(len(arm.runs)), each, *measured, *explained, *counts])
    table = "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])
    return (
        "; `capability` the same behind the right prefix; `gap` their difference. "
        "`right prefixes` (share among replays) and `critic AUC` (P(solved) behind the right prefix against wrong ones "
        f"of the same problem; .5 is chance) are means over the run.\n\n{table}"
    )


def _made(runs: Sequence[Run]) -> str:
    def seen(key: str) -> str:
        return ", ".join(sorted({str(r.summary.get(key, "-")) for r in runs}))

    versions = ", ".join(f"{k} {v}" for k, v in sorted(runs[0].summary.get("versions", {}).items()))
    seeds = ", ".join(str(s) for s in sorted({r.seed for r in runs}))
    command, made_at = runs[0].summary["command"], f"{versions}; {seen('device')}; seeds {seeds}"
    return f"\nMade by `{command}` at commit {seen('commit')}; {made_at}.\n"


def _mean(arm: Arm, key: str) -> float:
    return t_interval([float(r.summary[key]) for r in arm.runs])[0]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean, half = t_interval(values)
    digits = 1 if mean >= 10 else 2
    return f"{mean:.{digits}f}" if half is None else f"{mean:.{digits}f} \u00b1 {half:.{digits}f}"


def _draw(arms: Sequence[Arm], path: Path) -> None:
    """A row an arm: every seed a dot, the mean with its interval; hard success and capability."""
    figure, axes = plt.subplots(figsize=(8, 1.5 + 0.5 * len(arms)), layout="constrained")
    for place, arm in enumerate(reversed(arms)):
        for metric, colour, shift in (("eval/capability", "#0072b2", 0.14), (HEADLINE, "#d55e00", -0.14)):
            values = arm.finals(metric)
            if not values:
                continue
            mean, half = t_interval(values)
            axes.plot(values, [place + shift] * len(values), "o", color=colour, alpha=0.35, markersize=4)
            axes.errorbar(mean, place + shift, xerr=half or 0.0, fmt="D", color=colour, markersize=5, capsize=3)
    axes.plot([], [], "D", color="#0072b2", label="capability: behind the right prefix")
    axes.plot([], [], "D", color="#d55e00", label="hard success: from the bare prompt")
    axes.set_yticks(range(len(arms)), [f"{a.label} ({len(a.runs)})" for a in reversed(arms)])
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.set_xlabel("success at temperature 1 (dots: seeds; bars: 95 % t-interval)")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
