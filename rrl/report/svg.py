"""How matplotlib draws for us: one style, one palette, and figures as inline SVG in the page's own text colour."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from rrl.report.charts import PALETTE

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 130,
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "svg.hashsalt": "rrl",
    "text.parse_math": False,  # a run's name may hold "$"
}
_INK = "#010203"  # stands for the page's text colour in an SVG; no other colour is spelt so
MOST_IN_LEGEND = 12  # arms; a longer legend leaves its axes no room
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")


def colour(index: int) -> str:
    """The palette's colour on white, round and round."""
    return PALETTE[index % len(PALETTE)][0]


def as_svg(draw: Callable[[], Figure | None]) -> str:
    """What ``draw`` draws, as an SVG that takes the page's text colour; empty where it draws nothing."""
    ink: dict[Any, Any] = dict.fromkeys(_INKED, _INK)
    with mpl.rc_context({**STYLE, **ink, "savefig.transparent": True}):
        figure = draw()
        if figure is None:
            return ""
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return slim(svg[svg.index("<svg") :]).replace(_INK, "currentColor")


def slim(svg: str) -> str:
    """Without metadata, comments and line ends, and with hundredths of a point: half the size, the same picture."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"(?<=\d)(\.\d\d)\d+", r"\1", svg)
    return re.sub(r"\s*\n\s*", " ", svg)


def short(label: str, most: int = 26) -> str:
    """A label that fits beside an axis or into a legend: keys without their groups, then both ends of it.

    "rrl replay/selection=gap learner.lr=.1" -> "rrl selection=gap lr=.1".
    """
    label = re.sub(r"\S*[./](?=\w+=)", "", label)
    return label if len(label) <= most else f"{label[: most // 3]}...{label[most // 3 + 3 - most :]}"
