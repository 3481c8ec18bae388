"""One self-contained HTML file: text, tables and curves, nothing from the network.

Curves are drawn in the browser by uPlot, whose source is inlined; histograms are inline SVG. The
page follows the reader's light or dark setting and fits a telephone's 390 pixels.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from rrl.report.arms import Arm, mean_curve
from rrl.report.charts import AXIS_LABEL, HISTOGRAMS, PALETTE, Chart, has_any
from rrl.report.plots import histogram_svg
from rrl.visible import shown

_MOST_POINTS, _FEWEST_POINTS = 400, 60  # of a curve on the page: its pixels, and what still shows its course
_NUMBERS = 65_000  # of all curves together: about 450 kB, so that a page of many arms can still be sent to somebody


def text(value: object) -> str:
    """``value`` as HTML text, without characters that a browser obeys instead of shows."""
    return html.escape(shown(str(value)))


def table(
    headings: Sequence[str], rows: Sequence[Sequence[object]], *, identity: str = "", text_columns: Sequence[int] = (),
    left_columns: Sequence[int] = (),
) -> str:
    """An HTML table that scrolls sideways on its own. A cell that is a ``Markup`` is taken as it stands.
    text_columns: samples of text, in fixed-width letters.  left_columns: words; numbers stand on the right."""

    def cell(column: int, value: object) -> str:
        shown = value.html if isinstance(value, Markup) else text(value)
        kind = "text" if column in text_columns else "left" if column in left_columns else ""
        return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"

    left = {*text_columns, *left_columns}
    head = "".join(f"<th{' class=left' if i in left else ''}>{text(h)}</th>" for i, h in enumerate(headings))
    body = "\n".join("<tr>" + "".join(cell(i, v) for i, v in enumerate(row)) + "</tr>" for row in rows)
    name = f' id="{text(identity)}"' if identity else ""
    whole = f'<table class="data"{name}><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
    return f'<div class="wide">{whole}</div>'


class Markup:
    """Text that is HTML already."""

    def __init__(self, markup: str) -> None:
        self.html = markup


def facts(pairs: Mapping[str, object]) -> str:
    """A list of names and values; empty values are left out."""
    return (
        "<dl>"
        + "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in pairs.items() if v not in ("", None))
        + "</dl>"
    )


def section(identity: str, heading: str, body: str) -> str:
    """A part of the page that the navigation can name."""
    return f'<section id="{text(identity)}"><h2>{text(heading)}</h2>\n{body}\n</section>'


def curves(charts: Sequence[Chart], arms: Sequence[Arm]) -> tuple[str, list[dict[str, Any]]]:
    """(HTML with a place for each chart and the histograms, what ``page`` must be given to draw them)."""
    cards: list[str] = []
    drawings: list[dict[str, Any]] = []
    missing: list[str] = []
    per_arm = sum(len(chart.lines) * len(chart.axes) for chart in charts)
    most = min(_MOST_POINTS, max(_FEWEST_POINTS, _NUMBERS // max(1, 3 * per_arm * len(arms))))
    for chart in charts:
        if not has_any(chart, arms):
            missing.append(f"{chart.title} (no {' or '.join(line.metric for line in chart.lines)})")
            continue
        panels = [(f": {arm.label}", [arm]) for arm in arms] if chart.shade and len(arms) > 1 else [("", list(arms))]
        for suffix, members in panels:
            for axis in chart.axes:
                drawing = _drawing(chart, members, axis, f"plot{len(drawings)}", most)
                if drawing["series"]:
                    drawings.append(drawing)
                    place = f'<div class="plot" id="{drawing["id"]}"></div>'
                    cards.append(f'<div class="card"><h3>{text(chart.title + suffix)}</h3>{place}</div>')
    cards += [f'<div class="card">{svg}</div>' for svg in (histogram_svg(h, arms) for h in HISTOGRAMS) if svg]
    note = f'<p class="soft">Not drawn: {text("; ".join(missing))}.</p>' if missing else ""
    return f'<div class="grid">{"".join(cards)}</div>{note}', drawings


def page(
    title: str, lead: str, sections: Sequence[str], drawings: Sequence[dict[str, Any]], links: Mapping[str, str]
) -> str:
    """The whole file. lead: HTML under the title.  links: section id -> text of the navigation."""
    navigation = " ".join(f'<a href="#{text(i)}">{text(name)}</a>' for i, name in links.items())
    # "</" would end a script element inside JSON text, and "<!--<script" would let it go on behind its end.
    data = json.dumps(list(drawings), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title><link rel="icon" href="data:,">
<style>{_asset("uPlot.min.css")}
{_asset("page.css")}</style></head><body>
<header><h1>{text(title)}</h1>{lead}<nav>{navigation}</nav></header>
<main>
{chr(10).join(sections)}
</main>
<script type="application/json" id="charts">{data}</script>
<script type="application/json" id="palette">{json.dumps(PALETTE)}</script>
<script>{_asset("uPlot.iife.min.js")}</script>
<script>{_asset("page.js")}</script>
<script>{_asset("tables.js")}</script>
</body></html>
"""


def _asset(name: str) -> str:
    return (files("rrl.report") / "assets" / name).read_text(encoding="utf-8")


def _short(value: float, digits: int) -> float | int:
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _drawing(chart: Chart, arms: Sequence[Arm], axis: str, identity: str, most: int) -> dict[str, Any]:
    """Curves as plain lists. One arm: colours are metrics; several: colours are arms, dashes metrics.

    most: points of a curve.  A series names its x by its place in ``xs``: a mean and its band share one.
    """
    xs: list[list[float | int]] = []
    series: list[dict[str, Any]] = []
    bands: list[dict[str, Any]] = []
    means: dict[int, int] = {}

    def add(x: np.ndarray, y: np.ndarray, *, label: str, ink: int, dash: int, width: float, alpha: float) -> int:
        keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), most)).astype(int))
        places = [_short(v, 7) for v in x[keep]]
        if places not in xs:
            xs.append(places)
        series.append(
            {
                "label": label,
                "colour": ink,
                "dash": dash,
                "width": width,
                "alpha": alpha,
                "x": xs.index(places),
                "y": [_short(v, 4) for v in y[keep]],
            }
        )
        return len(series) - 1

    for number, arm in enumerate(arms):
        for inner, line in enumerate(chart.lines):
            curve = mean_curve(arm, line.metric, axis, chart.smooth)
            if curve is None:
                continue
            x, mean, half = curve
            ink = number if len(arms) > 1 else inner
            label = (
                line.label if len(arms) == 1 else arm.label if len(chart.lines) == 1 else f"{arm.label}, {line.label}"
            )
            if half is not None:
                upper = add(x, mean + half, label="", ink=ink, dash=0, width=0, alpha=0)
                lower = add(x, mean - half, label="", ink=ink, dash=0, width=0, alpha=0)
                bands.append({"upper": upper, "lower": lower, "colour": ink, "alpha": 0.13})
            means[inner] = add(x, mean, label=label, ink=ink, dash=line.dash, width=2, alpha=1)
    if chart.shade and len(arms) == 1 and {0, 1} <= means.keys():
        bands.append({"upper": means[0], "lower": means[1], "colour": 4, "alpha": 0.2})
    return {
        "id": identity,
        "x": AXIS_LABEL[axis],
        "y": chart.y,
        "unit": chart.unit_range,
        "xs": xs,
        "series": series,
        "bands": bands,
    }
