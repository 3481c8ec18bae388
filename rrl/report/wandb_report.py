"""The comparison as a W&B Report, as code over the metric catalogue (wandb-workspaces, extra ``reports``).

The panels are the page's own charts, measures and costs, so both tell the same; W&B has no t-intervals, its bands are
standard errors over the runs of a group. What is built can be written as JSON and checked with no account.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rrl.metrics import check_names
from rrl.report.arms import TOKENS
from rrl.report.charts import AXIS_LABEL, COMPARISON_CHARTS
from rrl.report.cost import HEADLINE, REPLAY_PHASES
from rrl.report.phases import MEASURES

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr

FINALS = (HEADLINE, "eval/capability", "eval/capability_gap", "eval/easy_success", "explore/hard_coverage_bare")
COSTS = (*REPLAY_PHASES, "time/step_s", "replay/store_bytes", "rollout/tokens_replayed", "rollout/prefix_tokens")
TABLES = ("turned", "prefixes")  # as the wandb tracker names them
_WIDE, _HIGH = 8, 7  # of a panel, in W&B's grid of 24 columns
_BAND = "standard errors over the runs of a group (the local page has 95 % t-intervals)"


def check_panels() -> None:
    """Raise ValueError where a panel names a metric that is not in the catalogue."""
    charts = [line.metric for chart in COMPARISON_CHARTS for line in chart.lines]
    axes = [axis for chart in COMPARISON_CHARTS for axis in chart.axes]
    check_names([*charts, *axes, *FINALS, *(m.metric for m in MEASURES), *COSTS])


def build_report(place: str, groups: Sequence[str]) -> wr.Report:
    """The report, not yet saved.

    Args:
      place: "entity/project".
      groups: names of the runs that are shown (the config's ``name``); none = all runs of the project.
    Raises:
      ValueError: ``place`` is of another form, a metric is not in the catalogue, or wandb-workspaces is missing.
    """
    entity, _, project = place.partition("/")
    if not entity or not project or "/" in project:
        raise ValueError(f"--wandb is {place!r}; expected entity/project, such as my-team/rrl")
    check_panels()
    try:
        import wandb_workspaces.reports.v2 as wr
    except ImportError as error:
        raise ValueError(f"--wandb needs wandb-workspaces ({error}): pip install 'rrl[reports]'") from error

    def grid(panels: Sequence[Any]) -> wr.PanelGrid:
        chosen = f"Config('name') in {list(groups)!r}" if groups else ""
        # Without entity and project a run set is the report's own, and nothing is asked of the server.
        runs = wr.Runset(name="runs by arm", groupby=["group"], filters=chosen)
        for place, panel in enumerate(panels):
            panel.layout = wr.Layout(x=_WIDE * (place % 3), y=_HIGH * (place // 3), w=_WIDE, h=_HIGH)
        return wr.PanelGrid(runsets=[runs], panels=list(panels))

    def line(title: str, metrics: Sequence[str], y: str, axis: str, unit_range: bool) -> wr.LinePlot:
        return wr.LinePlot(
            title=title, x=axis, y=list(metrics), title_x=AXIS_LABEL[axis], title_y=y, groupby_aggfunc="mean",
            groupby_rangefunc="stderr", smoothing_type="none", range_y=(0.0, 1.0) if unit_range else (None, None),
        )  # fmt: skip

    def bar(metric: str) -> wr.BarPlot:
        return wr.BarPlot(title=metric, metrics=[metric], groupby_aggfunc="mean", groupby_rangefunc="stderr")

    curves = [
        line(chart.title, [drawn.metric for drawn in chart.lines], chart.y.replace(" (mean of 9 steps)", ""), axis,
             chart.unit_range)
        for chart in COMPARISON_CHARTS for axis in chart.axes
    ]  # fmt: skip
    return wr.Report(
        entity=entity, project=project, title=f"rrl: {', '.join(groups) or project}",
        description="Retrospective replay beside its baselines, at equal sampled tokens.",
        blocks=[
            wr.TableOfContents(),
            wr.H1("Arms"), wr.P(f"The last value of every run; means over seeds, bars are {_BAND}."),
            grid([bar(metric) for metric in FINALS]),
            wr.H1("Learning curves"), wr.P(f"Means over seeds; bands are {_BAND}."), grid(curves),
            wr.H1("Does exploration decline, and does replay keep it?"),
            grid([line(m.label, [m.metric], m.label, TOKENS, False) for m in MEASURES]),
            wr.H1("What replay costs"), grid([line(name, [name], name, TOKENS, False) for name in COSTS]),
            wr.H1("Settings that differ"), grid([wr.RunComparer(diff_only="split")]),
            wr.H1("Stored prefixes"),
            wr.P("First those that turned from failing to solved, then the store at the end of the run."),
            grid([wr.WeavePanelSummaryTable(table_name=f"tables/{name}") for name in TABLES]),
        ],
    )  # fmt: skip


def specification(report: wr.Report) -> dict[str, Any]:
    """What would be sent to W&B, as plain data; asks nothing of the server."""
    model = report._to_model()  # wandb-workspaces 0.4 has no public way to it; its version is bounded for this
    told: dict[str, Any] = model.model_dump(by_alias=True, exclude_none=True, mode="json")
    return told


def save(report: wr.Report) -> str:
    """Create the report on the server; its address.

    Raises:
      ValueError: no account, no network, or W&B refused it; the message says which.
    """
    try:
        report.save()
    except Exception as error:  # whatever the backend raises means the same to the user: it is not there
        raise ValueError(
            f"the W&B Report was not saved: {type(error).__name__}: {' '.join(str(error).split())}; log in with "
            "'wandb login', or write its specification with --wandb-spec FILE"
        ) from error
    return str(report.url)
