"""Three pictures of a comparison that are no curves: how arms stand, exploration by phase, cost beside gain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rrl.report.arms import Arm
from rrl.report.cost import REPLAY_PHASES, Cost
from rrl.report.phases import MEASURES, PHASES, Phased
from rrl.report.standing import TAUS, Standing
from rrl.report.svg import colour

_PARTS = {
    "replay": REPLAY_PHASES, "rollout": ("time/rollout_s", "time/score_s"),
    "learning": ("time/estimate_s", "time/learn_s", "time/fit_s"), "evaluation": ("time/evaluate_s",),
}  # fmt: skip
_SHORT = 26  # characters of an arm's label beside an axis


def standing_figure(rows: Sequence[Standing], what: str) -> Figure | None:
    """Interquartile means with intervals beside performance profiles."""
    if not rows:
        return None
    figure = Figure(figsize=(9.0, max(3.0, 1.3 + 0.32 * len(rows))))
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.2))
    for place, row in enumerate(reversed(rows)):
        ink = colour(len(rows) - 1 - place)
        left.plot([row.iqm.low, row.iqm.high], [place, place], color=ink, lw=7, alpha=0.3, solid_capstyle="butt")
        left.plot([row.iqm.value] * 2, [place - 0.28, place + 0.28], color=ink, lw=2)
    _rows_of(left, [row.label for row in rows])
    left.set_xlim(-0.03, 1.03)
    left.set_xlabel(f"IQM of {what}")
    left.set_title("Interquartile mean, 95 % interval")
    for number, row in enumerate(rows):
        low, value, high = (np.asarray(x) for x in (row.profile.low, row.profile.value, row.profile.high))
        right.step(TAUS, value, where="post", color=colour(number), lw=2, label=_short(row.label))
        right.fill_between(TAUS, low, high, step="post", color=colour(number), alpha=0.15, lw=0)
    right.set_ylim(-0.03, 1.03)
    right.set_xlabel(f"{what} above ...")
    right.set_ylabel("share of runs")
    right.set_title("Performance profile")
    if len(rows) <= 12:
        right.legend(fontsize=8)
    return figure


def phase_figure(found: Sequence[Phased], arms: Sequence[Arm]) -> Figure | None:
    """A panel a measure: early, middle, late, one line an arm."""
    measures = [m for m in MEASURES if any(p.measure is m for p in found)]
    if not measures:
        return None
    columns = min(3, len(measures))
    lines = -(-len(measures) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.6 * lines + 0.5))
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax, measure in zip(axes, measures, strict=False):
        for number, arm in enumerate(arms):
            told = next((p for p in found if p.measure is measure and p.arm is arm), None)
            if told is None:
                continue
            there = [(place, x) for place, x in enumerate(told.by_phase) if x is not None]
            shift = 0.06 * (number - (len(arms) - 1) / 2) if len(arms) <= 6 else 0.0
            ax.errorbar(
                [place + shift for place, _ in there], [x.mean for _, x in there], yerr=[x.half or 0 for _, x in there],
                color=colour(number), marker="o", ms=4, lw=2, elinewidth=1, capsize=2, label=_short(arm.label),
            )  # fmt: skip
        ax.set_xticks(range(len(PHASES)), PHASES)
        ax.set_xlim(-0.3, len(PHASES) - 0.7)
        ax.set_title(measure.label, fontsize=9)
    for ax in axes[len(measures) :]:
        ax.set_axis_off()
    if len(arms) <= 12:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(arms)))
    return figure


def cost_figure(rows: Sequence[Cost]) -> Figure | None:
    """Seconds a run by what they went into, beside the gain."""
    if not any(row.seconds for row in rows):
        return None
    figure = Figure(figsize=(9.0, max(2.6, 1.5 + 0.32 * len(rows))))
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    ends = np.zeros(len(rows))
    for number, (part, names) in enumerate(_PARTS.items()):
        widths = np.array([_mean_seconds(row.arm, names) for row in reversed(rows)])
        left.barh(range(len(rows)), widths, left=ends, color=colour(number), label=part, height=0.6)
        ends += widths
    rest = np.maximum(0.0, np.array([row.seconds.mean if row.seconds else 0.0 for row in reversed(rows)]) - ends)
    left.barh(range(len(rows)), rest, left=ends, color="#999999", label="other", height=0.6)
    _rows_of(left, [row.arm.label for row in rows])
    left.set_xlabel("seconds a run (all steps)")
    left.set_title("What a run's time goes into")
    left.legend(fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.45, -0.28), handlelength=1, columnspacing=1)
    for place, row in enumerate(reversed(rows)):
        ink = colour(len(rows) - 1 - place)
        if row.gain is not None:
            right.errorbar(row.gain.mean, place, xerr=row.gain.half or 0, fmt="D", color=ink, ms=5, capsize=3)
        else:
            right.plot([0], [place], "|", color=ink, ms=14)
    right.axvline(0, color="#999999", lw=1)
    _rows_of(right, ["" for _ in rows])
    right.set_xlabel("hard success minus the baseline's, same seeds")
    right.set_title("Gain, 95 % t-interval")
    return figure


def _mean_seconds(arm: Arm, names: Sequence[str]) -> float:
    return float(np.mean([sum(r.get(n, 0.0) for r in run.records for n in names) for run in arm.runs]))


def _rows_of(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), [_short(label) for label in reversed(labels)])
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.grid(axis="y", visible=False)


def _short(label: str) -> str:
    return label if len(label) <= _SHORT else label[: _SHORT - 1] + "\u2026"
