"""Three pictures of a comparison that are no curves: how arms stand, exploration by phase, cost beside gain.

Each is a few panels: the page shows every panel as an SVG of its own, so that a telephone stacks them; the PNG has all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rrl.report.arms import Arm
from rrl.report.cost import REPLAY_PHASES, Cost
from rrl.report.phases import MEASURES, PHASES, Measure, Phased
from rrl.report.standing import TAUS, Standing
from rrl.report.svg import MOST_IN_LEGEND, colour, short

_PARTS = {
    "replay": REPLAY_PHASES, "rollout": ("time/rollout_s", "time/score_s"),
    "learning": ("time/estimate_s", "time/learn_s", "time/fit_s"), "evaluation": ("time/evaluate_s",),
}  # fmt: skip
_COLUMNS = 3
_WIDTH, _HEIGHT = 4.4, 3.0  # inches of a panel


class Picture(NamedTuple):
    """panels: each draws into the axes it is given.  height: of one, inches."""

    panels: tuple[Callable[[Axes], None], ...]
    height: float = _HEIGHT

    def whole(self) -> Figure:
        """All panels in one figure."""
        columns = min(_COLUMNS, len(self.panels))
        lines = -(-len(self.panels) // columns)
        figure = Figure(figsize=(_WIDTH * columns, self.height * lines))
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax, panel in zip(axes, self.panels, strict=False):
            panel(ax)
        for ax in axes[len(self.panels) :]:
            ax.set_axis_off()
        return figure

    def single(self, number: int) -> Figure:
        """One panel as a figure."""
        figure = Figure(figsize=(_WIDTH, self.height))
        self.panels[number](figure.subplots())
        return figure


def standing_picture(rows: Sequence[Standing], what: str) -> Picture:
    """Interquartile means with intervals, and performance profiles."""

    def means(ax: Axes) -> None:
        for place, row in enumerate(reversed(rows)):
            ink = colour(len(rows) - 1 - place)
            ax.plot([row.iqm.low, row.iqm.high], [place, place], color=ink, lw=7, alpha=0.3, solid_capstyle="butt")
            ax.plot([row.iqm.value] * 2, [place - 0.28, place + 0.28], color=ink, lw=2)
        _rows_of(ax, [row.label for row in rows])
        ax.set_xlim(-0.03, 1.03)
        ax.set_xlabel(f"IQM of {what}")
        ax.set_title("Interquartile mean, 95 % interval")

    def profiles(ax: Axes) -> None:
        for number, row in enumerate(rows):
            ax.step(TAUS, row.profile.value, where="post", color=colour(number), lw=2, label=short(row.label))
            ax.fill_between(
                TAUS, row.profile.low, row.profile.high, step="post", color=colour(number), alpha=0.15, lw=0
            )
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel(f"{what} above ...")
        ax.set_ylabel("share of runs")
        ax.set_title("Performance profile")
        _legend(ax, len(rows))

    return Picture((means, profiles), _height(len(rows)))


def phase_picture(found: Sequence[Phased], arms: Sequence[Arm]) -> Picture:
    """A panel a measure: early, middle, late, one line an arm."""

    def panel(measure: Measure) -> Callable[[Axes], None]:
        def draw(ax: Axes) -> None:
            for number, arm in enumerate(arms):
                told = next((p for p in found if p.measure is measure and p.arm is arm), None)
                if told is None:
                    continue
                there = [(place, x) for place, x in enumerate(told.by_phase) if x is not None]
                shift = 0.06 * (number - (len(arms) - 1) / 2) if len(arms) <= 6 else 0.0
                ax.errorbar(
                    [place + shift for place, _ in there], [x.mean for _, x in there],
                    yerr=[x.half or 0.0 for _, x in there], color=colour(number), marker="o", ms=4, lw=2, elinewidth=1,
                    capsize=2, label=short(arm.label),
                )  # fmt: skip
            ax.set_xticks(range(len(PHASES)), PHASES)
            ax.set_xlim(-0.3, len(PHASES) - 0.7)
            ax.set_title(measure.label, fontsize=10)
            _legend(ax, len(arms))

        return draw

    return Picture(tuple(panel(m) for m in MEASURES if any(p.measure is m for p in found)))


def cost_picture(rows: Sequence[Cost]) -> Picture:
    """Seconds a run by what they went into, and the gain."""

    def seconds(ax: Axes) -> None:
        places, ends = range(len(rows)), np.zeros(len(rows))
        for number, (part, names) in enumerate(_PARTS.items()):
            widths = np.array([_mean_seconds(row.arm, names) for row in reversed(rows)])
            ax.barh(places, widths, left=ends, color=colour(number), label=part, height=0.6)
            ends += widths
        rest = np.array([row.seconds.mean if row.seconds else 0.0 for row in reversed(rows)]) - ends
        ax.barh(places, np.maximum(0.0, rest), left=ends, color="#999999", label="other", height=0.6)
        _rows_of(ax, [row.arm.label for row in rows])
        ax.set_xlabel("seconds a run (all steps)")
        ax.set_title("What a run's time goes into")
        ax.set_ylim(-0.6, len(rows) + 0.3 + 0.08 * len(rows))
        ax.legend(fontsize=8, ncols=3, loc="upper right", handlelength=1, columnspacing=1)

    def gain(ax: Axes) -> None:
        for place, row in enumerate(reversed(rows)):
            ink = colour(len(rows) - 1 - place)
            if row.gain is not None:
                ax.errorbar(row.gain.mean, place, xerr=row.gain.half or 0.0, fmt="D", color=ink, ms=5, capsize=3)
            else:
                ax.plot([0], [place], "|", color=ink, ms=14)
        ax.axvline(0, color="#999999", lw=1)
        _rows_of(ax, [row.arm.label for row in rows])
        ax.set_xlabel("hard success minus the baseline's")
        ax.set_title("Gain on the same seeds, 95 % t-interval")

    return Picture((seconds, gain), _height(len(rows)))


def _mean_seconds(arm: Arm, names: Sequence[str]) -> float:
    return float(np.mean([sum(r.get(n, 0.0) for r in run.records for n in names) for run in arm.runs]))


def _height(num_rows: int) -> float:
    return max(_HEIGHT, 1.4 + 0.32 * num_rows)


def _rows_of(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), [short(label) for label in reversed(labels)])
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.grid(axis="y", visible=False)


def _legend(ax: Axes, num: int) -> None:
    if 1 < num <= MOST_IN_LEGEND:
        ax.legend(fontsize=8)
