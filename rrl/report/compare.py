"""The comparison of a sweep: <out>/comparison.html, PNGs, comparison.csv and one printed table.

Runs are grouped into arms (same experiment and overrides, different seeds); means carry 95 %
t-intervals over seeds, none for one seed. Runs that did not finish stay in the CSV, not in means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rrl.report import page
from rrl.report.arms import Arm, group_arms, place_of
from rrl.report.charts import COMPARISON_CHARTS
from rrl.report.contrast import baseline_of
from rrl.report.cost import HEADLINE
from rrl.report.gallery import gallery
from rrl.report.gather import read_runs
from rrl.report.grid import draw_grid, grid_of
from rrl.report.load import Run
from rrl.report.plots import write_charts
from rrl.report.run_report import made_by
from rrl.report.runs_csv import write_csv
from rrl.report.sections import aggregate_section, cost_section, exploration_section, settings_section
from rrl.report.stats import paired_permutation, t_interval
from rrl.report.summary import print_notes, print_pointers

_COLUMNS = {
    "hard success": HEADLINE,
    "capability": "eval/capability",
    "gap": "eval/capability_gap",
    "easy": "eval/easy_success",
    "steps": "steps",
    "tokens": "sampled_tokens",
    "seconds": "seconds",
}


_MOST_IN_TITLE = 4  # arms
_MOST_ARMS = 24  # whose curves a reader can tell apart, and a terminal's table can hold


class Comparison(NamedTuple):
    """What was read and where it was written. notes: runs that are missing from the means, and why."""

    arms: list[Arm]
    html: Path
    notes: list[str]


def write_comparison(folders: Sequence[Path], out: Path) -> Comparison:
    """Compare all runs among and below ``folders``; everything is written into ``out``.

    Raises:
      ValueError: no run can be read; the message says why for each.
    """
    runs, notes = read_runs(folders)
    arms = group_arms(runs)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(runs, out / "comparison.csv", below=out.parent)
    body, drawings = _curves(arms, out)
    rows = [
        [arm.label, len(arm.runs), *(_cell(arm, metric) for metric in _COLUMNS.values()), _expected(arm)]
        for arm in arms
    ]
    headings = ("arm", "seeds", *_COLUMNS, "expected hard success")
    few, kept = _few(arms)
    parts = {
        "arms": ("arms", "Arms", page.table(headings, rows) + _differences(arms)),
        "aggregate": ("aggregate", "Over tasks and seeds", kept + aggregate_section(few, out)),
        "curves": ("curves", "Learning curves", body),
        "phases": ("exploration", "Exploration by phase: does it decline, and does replay keep it?",
                   kept + exploration_section(few, out)),
        "cost": ("cost", "What replay costs, and what it brings", kept + cost_section(few, out)),
        "settings": ("settings", "Settings that differ", kept + settings_section(few)),
        "turned-section": ("turned prefixes", "Prefixes that turned from failing to solved", gallery(arms)),
        "runs": ("runs", "Runs", _runs_table(runs, out.parent)),
        "made": ("how it was made", "How it was made", made_by(runs)),
    }  # fmt: skip
    lead = "<p>Means over seeds \u00b1 95 % t-interval; no interval for one seed. Bands are the same intervals. " \
           "A click on a heading sorts its table; drag across a plot to zoom, double-click to go back.</p>"  # fmt: skip
    lead += "".join(f'<p class="note">{page.text(note)}</p>' for note in notes)
    sections = [page.section(key, heading, html) for key, (_, heading, html) in parts.items()]
    links = {key: link for key, (link, _, _) in parts.items()}
    path = out / "comparison.html"
    title = "Comparison: " + " / ".join(a.label for a in arms) if len(arms) <= _MOST_IN_TITLE else None
    whole = page.page(title or f"Comparison of {len(arms)} arms", lead, sections, drawings, links)
    path.write_text(whole, encoding="utf-8")
    return Comparison(arms, path, notes)


def _few(arms: Sequence[Arm]) -> tuple[list[Arm], str]:
    """(the arms that a picture can hold: the baseline and the best ones, in their order; a word on it, as HTML)."""
    if len(arms) <= _MOST_ARMS:
        return list(arms), ""
    best = _best(arms)[: _MOST_ARMS - 1]
    chosen = [arm for arm in arms if arm is baseline_of(arms) or any(arm is b for b in best)]
    return chosen, f'<p class="soft">The baseline and the best of {len(arms)} arms by hard success.</p>'


def _best(arms: Sequence[Arm]) -> list[Arm]:
    return sorted(arms, key=lambda arm: -(arm.mean(HEADLINE) or (-1.0, None))[0])


def _curves(arms: Sequence[Arm], out: Path) -> tuple[str, list[dict[str, Any]]]:
    """Curves of a few arms, PNGs included; of a product of two axes the heat-map, too."""
    grid = grid_of(arms, HEADLINE)
    if grid is not None:
        draw_grid(grid, out / "heatmap.png", title="hard success at the end")
    if len(arms) <= _MOST_ARMS:
        write_charts(COMPARISON_CHARTS, arms, out)
        return page.curves(COMPARISON_CHARTS, arms)
    seen = " heatmap.png beside this page shows them all." if grid else ""
    advice = f"{len(arms)} arms are too many to tell curves apart: rrl-report with the folders of a few draws them."
    return f'<p class="note">{advice}{seen}</p>', []


def print_comparison(comparison: Comparison, *, next_command: str) -> None:
    """One boxed table, an arm a row, then where the page is and what to type next."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    table = Table(
        title="Means over seeds \u00b1 95 % t-interval", box=box.ROUNDED, title_justify="left", title_style="bold"
    )
    table.add_column("arm (seeds)")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    arms = comparison.arms
    if len(arms) > _MOST_ARMS:
        arms = _best(arms)[:_MOST_ARMS]
        table.title = f"The best {_MOST_ARMS} of {len(comparison.arms)} arms by hard success; means over seeds"
    for arm in arms:
        # Only the headline carries its interval here: the table must fit a terminal; the page has them all.
        cells = [_cell(arm, m, interval=m == HEADLINE) for m in _COLUMNS.values()]
        table.add_row(Text(f"{arm.label} ({len(arm.runs)})"), *cells)  # [a,b] is no markup
    console.print(table)
    print_notes(console, comparison.notes)
    print_pointers(console, report=comparison.html, next_command=next_command)


def _values(arm: Arm, metric: str) -> list[float]:
    """An eval metric at the end of each run, or a count of its summary."""
    if metric in ("steps", "sampled_tokens", "seconds"):
        return [float(run.summary[metric]) for run in arm.runs]
    return arm.finals(metric)


def _cell(arm: Arm, metric: str, *, interval: bool = True) -> str:
    values = _values(arm, metric)
    if not values:
        return "-"
    mean, half = t_interval(values)
    if metric in ("steps", "sampled_tokens", "seconds"):
        return f"{mean:,.0f}"
    return f"{mean:.3f} \u00b1 {half:.3f}" if interval and half is not None else f"{mean:.3f}"


def _expected(arm: Arm) -> str:
    pair = next((r.summary["expected"][HEADLINE] for r in arm.runs if HEADLINE in r.summary["expected"]), None)
    return "-" if pair is None else f"{pair[0]:.3g} \u00b1 {pair[1]:.3g}"


def _differences(arms: Sequence[Arm]) -> str:
    """Hard success of every arm against the first, on the seeds that both have."""
    rows = []
    for arm in arms[1:]:
        ours, theirs = ({r.seed: r.final[HEADLINE] for r in a.runs if HEADLINE in r.final} for a in (arm, arms[0]))
        seeds = sorted(ours.keys() & theirs.keys())
        if seeds:
            first, second = [ours[s] for s in seeds], [theirs[s] for s in seeds]
            mean, half = t_interval([a - b for a, b in zip(first, second, strict=True)])
            chance = paired_permutation(first, second, generator=np.random.default_rng(0))
            spread = "-" if half is None else f"{half:.3f}"
            rows.append(
                (
                    f"{arm.label} minus {arms[0].label}",
                    len(seeds),
                    f"{mean:+.3f}",
                    spread,
                    f"{chance:.3g}" if len(seeds) > 1 else "-",
                )
            )
    if not rows:
        return ""
    headings = ("hard success, same seeds", "pairs", "mean difference", "\u00b1 95 %", "p (paired permutation)")
    smallest = '<p class="soft">The smallest p that n pairs can give is 2 / 2^n: .25 for 3, .0625 for 5.</p>'
    return "<p></p>" + page.table(headings, rows) + smallest


def _runs_table(runs: Sequence[Run], below: Path) -> str:
    rows = [
        [
            place_of(r, below),
            r.name,
            r.seed,
            r.summary["status"],
            *(f"{r.final[m]:.3f}" if m in r.final else "-" for m in list(_COLUMNS.values())[:4]),
            f"{r.summary['steps']:,}",
            f"{r.summary['sampled_tokens']:,}",
            f"{r.summary['seconds']:.0f}",
        ]
        for r in runs
    ]
    return page.table(("folder", "experiment", "seed", "status", *_COLUMNS), rows, left_columns=(1, 3))
