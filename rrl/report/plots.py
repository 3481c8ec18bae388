"""PNGs by matplotlib (Agg, no display): one file a chart, readable in print and by colour-blind eyes.

One arm: colours tell metrics apart. Several arms: colours tell arms apart, dashes tell metrics
apart, thin lines are seeds, bands are 95 % t-intervals over seeds (none for one seed).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from rrl.report.arms import TOKENS, Arm, curve_of, mean_curve
from rrl.report.charts import AXIS_LABEL, HISTOGRAMS, Chart, Histogram, has_any, histogram_values
from rrl.report.svg import MOST_IN_LEGEND, STYLE, as_svg, colour, short

_Band = tuple[np.ndarray, np.ndarray, np.ndarray, str]
_DASH = ("-", "--", ":")  # by Line.dash

def write_charts(charts: Sequence[Chart], arms: Sequence[Arm], folder: Path) -> list[Path]:
    """One PNG a chart that has data, histograms of the store last; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):
        for chart in charts:
            if has_any(chart, arms):
                figure = _headline(chart, arms) if chart.shade else _panels(chart, arms)
                written.append(folder / f"{chart.key}.png")
                figure.savefig(written[-1])
        drawn = [h for h in HISTOGRAMS if any(len(histogram_values(h, r)) for a in arms for r in a.runs)]
        if drawn:
            figure = Figure(figsize=(4.6 * len(drawn), 3.4))
            axes = figure.subplots(1, len(drawn), squeeze=False)[0]
            for ax, histogram in zip(axes, drawn, strict=True):
                _histogram(ax, histogram, arms)
            if 1 < len(arms) <= MOST_IN_LEGEND:
                axes[0].legend()
            written.append(folder / "store_histograms.png")
            figure.savefig(written[-1])
    return written


def histogram_svg(histogram: Histogram, arms: Sequence[Arm]) -> str:
    """An inline SVG that takes the page's text colour; empty where no run stored prefixes."""
    if not any(len(histogram_values(histogram, run)) for arm in arms for run in arm.runs):
        return ""

    def draw() -> Figure:
        figure = Figure(figsize=(4.4, 3.0))
        ax = figure.subplots()
        _histogram(ax, histogram, arms)
        if 1 < len(arms) <= MOST_IN_LEGEND:
            ax.legend()
        return figure

    return as_svg(draw)


def _headline(chart: Chart, arms: Sequence[Arm]) -> Figure:
    """A panel an arm: capability over hard success, the gap shaded; one legend for all."""
    columns = min(3, len(arms))
    rows = -(-len(arms) // columns)
    figure = Figure(figsize=(max(6.4, 4.2 * columns), 3.5 * rows + 0.9))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for place, ax in enumerate(grid.ravel()):
        if place >= len(arms):
            ax.set_axis_off()
            continue
        arm, shaded = arms[place], []
        for number, line in enumerate(chart.lines):
            curve = mean_curve(arm, line.metric, chart.axes[0], chart.smooth)
            if curve is None:
                continue
            x, mean, half = curve
            ax.plot(x, mean, color=colour(number), lw=2, ls=_DASH[line.dash], label=line.label)
            if half is not None and not line.dash:
                ax.fill_between(
                    x, np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1), color=colour(number), alpha=0.15, lw=0
                )
            if number < 2:
                shaded.append((x, mean))
        if len(shaded) == 2:
            (x, upper), (x_low, lower) = shaded
            ax.fill_between(
                x, upper, np.interp(x, x_low, lower), color=colour(4), alpha=0.22, lw=0, label="capability gap"
            )
        ax.set_title(_with_gap(arm))
        _dress(ax, chart, chart.axes[0], left=place % columns == 0, below=place // columns == rows - 1)
    figure.suptitle(chart.title, fontweight="bold")
    handles, labels = grid.ravel()[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _with_gap(arm: Arm) -> str:
    gap, seeds = arm.mean("eval/capability_gap"), len(arm.runs)
    text = f"{arm.label} ({seeds} seed{'s' if seeds > 1 else ''})"
    return text if gap is None else f"{text}: final gap {gap[0]:.2f}"


def _panels(chart: Chart, arms: Sequence[Arm]) -> Figure:
    """A panel an x axis; one legend for all."""
    figure = Figure(figsize=(5.2 * len(chart.axes) + 1.0, 4.3))
    axes = figure.subplots(1, len(chart.axes), squeeze=False, sharey=True)[0]
    for place, (ax, axis) in enumerate(zip(axes, chart.axes, strict=True)):
        bands = []
        for number, arm in enumerate(arms):
            for inner, line in enumerate(chart.lines):
                ink = colour(number if len(arms) > 1 else inner)
                bands += _draw(ax, arm, line.metric, axis, ink, _DASH[line.dash], chart.smooth)
        limits = ax.get_ylim()  # two seeds have intervals of many deviations: lines set the scale, not bands
        for x, low, high, ink in bands:
            ax.fill_between(x, low, high, color=ink, alpha=0.15, lw=0)
        ax.set_ylim(limits)
        _dress(ax, chart, axis, left=place == 0, below=True)
    figure.suptitle(chart.title, fontweight="bold")
    figure.legend(handles=_legend(chart, arms), loc="outside lower center", ncols=3)
    return figure


def _draw(ax: Axes, arm: Arm, metric: str, axis: str, ink: str, style: str, smooth: int) -> list[_Band]:
    """Draw the mean and, for several seeds, each of them; returns the interval's band."""
    curve = mean_curve(arm, metric, axis, smooth)
    if curve is None:
        return []
    x, mean, half = curve
    ax.plot(x, mean, color=ink, lw=2, ls=style)
    if half is None:
        return []
    for run in arm.runs:
        ax.plot(*curve_of(run, metric, axis, smooth), color=ink, lw=0.7, ls=style, alpha=0.35)
    return [(x, mean - half, mean + half, ink)]


def _legend(chart: Chart, arms: Sequence[Arm]) -> list[Line2D]:
    def handle(ink: str, style: str, label: str) -> Line2D:
        return Line2D([], [], color=ink, lw=2, ls=style, label=label)

    if len(arms) == 1:
        drawn = [
            (i, line)
            for i, line in enumerate(chart.lines)
            if any(len(r.series(line.metric, TOKENS)[0]) for r in arms[0].runs)
        ]
        return [handle(colour(i), _DASH[line.dash], line.label) for i, line in drawn]
    handles = [handle(colour(i), "-", f"{arm.label} ({len(arm.runs)})") for i, arm in enumerate(arms)]
    if len(chart.lines) > 1:
        handles += [handle("#555555", _DASH[line.dash], line.label) for line in chart.lines]
    return handles


def _dress(ax: Axes, chart: Chart, axis: str, *, left: bool, below: bool) -> None:
    if chart.unit_range:
        ax.set_ylim(-0.03, 1.03)
    if below:
        ax.set_xlabel(AXIS_LABEL[axis])
    if left:
        ax.set_ylabel(chart.y)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    if axis == TOKENS:
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))


def _histogram(ax: Axes, histogram: Histogram, arms: Sequence[Arm]) -> None:
    values = [np.concatenate([histogram_values(histogram, run) for run in arm.runs]) for arm in arms]
    everything = np.concatenate(values)
    bins = np.histogram_bin_edges(everything, bins=min(20, max(5, len(everything) // 5)))
    for number, (arm, numbers) in enumerate(zip(arms, values, strict=True)):
        if len(numbers):
            # Shares, so that arms with more seeds or larger stores can be compared.
            ax.hist(
                numbers,
                bins=bins.tolist(),
                histtype="stepfilled",  # one path an arm, not one a bar
                weights=np.full(len(numbers), 1 / len(numbers)),
                color=colour(number),
                alpha=0.55 if len(arms) > 1 else 0.85,
                label=f"{short(arm.label)} ({len(numbers)} prefixes)",
            )
    ax.set_title(histogram.title)
    ax.set_xlabel(histogram.x)
    ax.set_ylabel("share of prefixes")
