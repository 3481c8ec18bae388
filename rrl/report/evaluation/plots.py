"""Plots of an evaluation, made from ``eval.json`` alone: pass@k, and accuracy by difficulty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from rrl.report.svg import STYLE, as_svg, colour
from rrl.visible import visible

_MOST_OF_A_LABEL = 30  # characters
Drawing = Callable[[Mapping[str, Any]], Figure | None]


def write_plots(figures: Mapping[str, Any], folder: Path) -> list[Path]:
    """PNGs of what can be drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(STYLE):
        for name, draw in DRAWINGS.items():
            if (figure := draw(figures)) is not None:
                written.append(folder / f"{name}.png")
                figure.savefig(written[-1])
    return written


def inline_svgs(figures: Mapping[str, Any]) -> list[str]:
    """The same as SVGs that take the page's text colour."""
    drawn = [as_svg(partial(draw, figures)) for draw in DRAWINGS.values()]
    return [svg for svg in drawn if svg]


def pass_figure(figures: Mapping[str, Any]) -> Figure | None:
    """pass@k over k with its interval's band."""
    if not figures.get("pass_at_k"):
        return None
    k = np.array([int(x) for x in figures["pass_at_k"]])
    value, low, high = _ends(list(figures["pass_at_k"].values()))
    figure = Figure(figsize=(5.2, 3.6))
    ax = figure.subplots()
    ax.fill_between(k, low, high, color=colour(0), alpha=0.2, lw=0, label="95 % interval")
    ax.plot(k, value, color=colour(0), lw=2, marker="o", ms=4, label="pass@k")
    if "greedy" in figures:
        ax.axhline(figures["greedy"]["value"], color=colour(1), lw=1.5, ls="--", label="greedy")
    if len(k) > 1:
        ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(k.tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(k.tolist(), [str(x) for x in k])
    ax.set(xlabel="k (responses a problem)", ylabel="share of problems", ylim=(-0.02, 1.02))
    ax.set_title("Solved within k responses")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def difficulty_figure(figures: Mapping[str, Any]) -> Figure | None:
    """pass@1 and greedy accuracy of each difficulty, with intervals."""
    parts = figures.get("by_difficulty")
    if not parts:
        return None
    kinds = [kind for kind in ("sampled", "greedy") if all(kind in part for part in parts.values())]
    figure = Figure(figsize=(max(4.0, 1.6 * len(parts) + 2.0), 3.6))
    ax = figure.subplots()
    width = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        value, low, high = _ends([part[kind] for part in parts.values()])
        place = np.arange(len(parts)) + (number - (len(kinds) - 1) / 2) * width
        errors = np.clip([value - low, high - value], 0.0, None)
        ax.bar(place, value, width * 0.92, color=colour(number), label={"sampled": "pass@1"}.get(kind, kind))
        ax.errorbar(place, value, yerr=errors, fmt="none", ecolor=colour(5), capsize=3, lw=1.2)
    labels = [f"{visible(label, _MOST_OF_A_LABEL)} ({part['num_problems']:,})" for label, part in parts.items()]
    ax.set_xticks(range(len(parts)), labels, parse_math=False)
    ax.set(ylabel="share solved", ylim=(0, 1.02), title="Accuracy by difficulty (problems)")
    ax.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


DRAWINGS: dict[str, Drawing] = {"pass_at_k": pass_figure, "accuracy_by_difficulty": difficulty_figure}


def _ends(estimates: list[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, lower ends, upper ends); an estimate without an interval has no width."""
    ends = [[e["value"], *((e["value"],) * 2 if e["low"] is None else (e["low"], e["high"]))] for e in estimates]
    value, low, high = np.array(ends).T
    return value, low, high
