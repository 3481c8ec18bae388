"""What a report draws, as data: one list for the PNGs and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rrl.report.arms import STEPS, TOKENS, Arm
from rrl.report.load import Run

# Okabe and Ito's palette, safe for colour-blind readers: (on white, on black).
PALETTE = (
    ("#0072B2", "#56B4E9"),
    ("#D55E00", "#FF8A4C"),
    ("#009E73", "#34C99A"),
    ("#B5548A", "#E79AC4"),
    ("#A97400", "#F0B840"),
    ("#5B6770", "#AEB9C2"),
    ("#3B3B98", "#9C9CF0"),
    ("#7A5230", "#C99B6E"),
)
AXIS_LABEL = {STEPS: "policy updates (steps)", TOKENS: "sampled tokens"}


class Line(NamedTuple):
    """One metric of a chart. dash: 0 solid, 1 dashed, 2 dotted; tells metrics apart where colour tells arms apart."""

    metric: str
    label: str
    dash: int = 0


class Chart(NamedTuple):
    """title says what to look at; y names the axis with its unit; unit_range: the axis is [0, 1].
    shade: fill between the first two lines.  axes: x axes to draw against, one panel each.  smooth:
    records that a running mean takes together, odd; 1 = none; y says so."""

    key: str
    title: str
    y: str
    lines: tuple[Line, ...]
    axes: tuple[str, ...] = (TOKENS,)
    unit_range: bool = False
    shade: bool = False
    smooth: int = 1


_HEADLINE = Chart(
    "headline",
    "Able, yet not doing: the shaded capability gap",
    "success at temperature 1",
    (
        Line("eval/capability", "capability (hard, right prefix given)"),
        Line("eval/hard_success", "hard success (bare prompt)"),
        Line("eval/easy_success", "easy success", 1),
    ),
    unit_range=True,
    shade=True,
)
_HARD = Chart(
    "hard_success",
    "Hard problems solved from the bare prompt",
    "hard success at temperature 1",
    (Line("eval/hard_success", "hard success"),),
    (STEPS, TOKENS),
    unit_range=True,
)
_GAP = Chart(
    "capability_gap",
    "Capability gap: zero means the model does what it can",
    "capability - hard success",
    (Line("eval/capability_gap", "capability gap"),),
    unit_range=True,
)
_BOTH = (
    Chart(
        "score_by_origin",
        "Score by origin of the start",
        "mean score (mean of 9 steps)",
        (Line("rollout/score_fresh", "fresh (bare prompt)"), Line("rollout/score_replayed", "replayed prefix", 1)),
        (STEPS, TOKENS),
        smooth=9,
    ),
    Chart(
        "entropy",
        "Exploration left: token entropy",
        "entropy (nats a token)",
        (Line("rollout/entropy_nats_fresh", "fresh"), Line("rollout/entropy_nats_replayed", "replayed", 1)),
    ),
    Chart(
        "replay_fraction",
        "Share of the batch that starts from a stored prefix",
        "share of starts",
        (Line("replay/fraction", "replayed share"), Line("replay/conversion", "replayed starts that are solved", 1)),
        unit_range=True,
    ),
    Chart(
        "hard_coverage",
        "Hard problems ever solved",
        "problems",
        (
            Line("explore/hard_coverage_bare", "from the bare prompt"),
            Line("explore/hard_coverage_replayed", "from a replayed prefix", 1),
        ),
    ),
    Chart(
        "critic_auc",
        "Can the critic tell good states from bad? (0.5 = chance)",
        "AUC of P(solved) (mean of 9 steps)",
        (
            Line("eval/right_key_auc", "right prefix against wrong ones"),
            Line("value/auc_fresh", "fresh starts", 1),
            Line("value/auc_replayed", "replayed starts", 2),
        ),
        unit_range=True,
        smooth=9,
    ),
)
RUN_CHARTS = (_HEADLINE, *_BOTH)
COMPARISON_CHARTS = (_HEADLINE, _HARD, _GAP, *_BOTH)


class Histogram(NamedTuple):
    """One number of every stored prefix. column: its name in tables/prefixes.jsonl."""

    key: str
    title: str
    x: str
    column: str


HISTOGRAMS = (
    Histogram("store_age", "How old stored prefixes are", "age (steps since stored)", "age_steps"),
    Histogram("store_priority", "How promising they are now", "P(solved), last re-scored", "value"),
)


def has_any(chart: Chart, arms: Sequence[Arm]) -> bool:
    """Whether at least one line of the chart was recorded by at least one run."""
    wanted = {line.metric for line in chart.lines}
    return any(wanted & record.keys() for arm in arms for run in arm.runs for record in run.records)


def histogram_values(histogram: Histogram, run: Run) -> np.ndarray:
    """The number of every stored prefix of a run that has it."""
    return np.array([float(row[histogram.column]) for row in run.prefixes if row.get(histogram.column) is not None])
