"""The last thing a run prints: measured beside expected numbers, and the next command to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table

from rrl.terminal import screen
from rrl.typed import typed
from rrl.visible import shown

_MOST_ROWS = 8
_USUAL = (
    "eval/hard_success",
    "eval/capability",
    "eval/capability_gap",
    "eval/easy_success",
    "eval/hard_greedy",
    "eval/heldout_easy_success",
    "explore/hard_coverage_bare",
    "time/tokens_per_s",
)


class SummaryRow(NamedTuple):
    """One metric. expected, tolerance: None where the experiment promises nothing.
    verdict: "ok", "outside", "not measured" or "" (nothing expected)."""

    metric: str
    measured: float | None
    expected: float | None
    tolerance: float | None
    verdict: str

    @property
    def measured_text(self) -> str:
        if self.measured is None:
            return "-"
        return f"{self.measured:.3f}" if abs(self.measured) < 10 else f"{self.measured:,.0f}"

    @property
    def expected_text(self) -> str:
        return "-" if self.expected is None else f"{self.expected:.3g} \u00b1 {self.tolerance:.3g}"


def expected_of(cfg: DictConfig, task: str) -> dict[str, Any]:
    """What the experiment promises on this task: metric -> [value, tolerance]; nothing elsewhere."""
    promised = OmegaConf.to_container(cfg.expected) if cfg.expected else {}
    assert isinstance(promised, dict)
    pairs: dict[str, Any] = promised.get(task, {})
    return pairs


def summary_rows(final_metrics: Mapping[str, float], expected: Mapping[str, Sequence[float]]) -> list[SummaryRow]:
    """Every expected metric, then the usual ones up to eight rows.

    Args:
      final_metrics: measured at the end of the run, by name.
      expected: (value, tolerance) by name, the experiment's ``expected`` node; ok means
        |measured - value| <= tolerance.
    Raises:
      ValueError: an expectation that is not a pair of numbers.
    """
    rows = []
    for metric, pair in expected.items():
        if len(pair) != 2:
            raise ValueError(f"expected.{metric} is {list(pair)}; expected [value, tolerance]")
        value, tolerance = float(pair[0]), float(pair[1])
        measured = final_metrics.get(metric)
        if measured is None:
            verdict = "not measured"
        else:
            verdict = "ok" if abs(measured - value) <= tolerance + 1e-12 else "outside"
        rows.append(SummaryRow(metric, measured, value, tolerance, verdict))
    usual = [m for m in _USUAL if m in final_metrics and m not in expected]
    rows += [SummaryRow(m, final_metrics[m], None, None, "") for m in usual[: max(0, _MOST_ROWS - len(rows))]]
    return rows


def print_summary(summary: Mapping[str, Any], *, notes: Sequence[str], next_command: str, report: Path) -> None:
    """Print the boxed table of one run's summary.json, what is missing, where its page is, and what to type next."""
    console = screen()
    title = (
        f"{summary['name']}, seed {summary['seed']}: {summary['status']} after {summary['steps']} steps, "
        f"{summary['sampled_tokens']:,} sampled tokens, {summary['seconds']:.0f} s"
    )
    console.print(shown(title), style="bold", markup=False, soft_wrap=True)
    table = Table(box=box.ROUNDED)
    table.add_column("metric", no_wrap=True)
    for heading in ("measured", "expected", "verdict"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in summary_rows(summary["final"], summary["expected"]):
        style = {"ok": "green", "outside": "bold red", "not measured": "yellow"}.get(row.verdict, "")
        table.add_row(row.metric, row.measured_text, row.expected_text, f"[{style}]{row.verdict}[/]" if style else "-")
    console.print(table)
    print_notes(console, notes)
    print_pointers(console, report=report, next_command=next_command)


def print_notes(console: Console, notes: Sequence[str]) -> None:
    """What a reader must know of the files, each on one line."""
    for note in notes:
        console.print(f"note: {shown(note)}", style="yellow", markup=False, soft_wrap=True)


def print_pointers(console: Console, *, report: Path, next_command: str) -> None:
    """Where the page is and what to type next, each on one line that can be copied."""
    for heading, value in (("report:", str(report)), ("next command:", next_command)):
        console.print(heading, style="bold", end=" ")
        console.print(value, soft_wrap=True, markup=False, highlight=False)


def finish_run(folder: Path) -> None:
    """What a run does last: write its plots and page, print its summary and what to type next."""
    from rrl.report.run_report import write_run_report  # matplotlib takes a second to import

    run = write_run_report(folder)
    next_command = typed("rrl-eval", "checkpoint", folder) if run.finished else typed("rrl-train", "resume", folder)
    print_summary(
        run.summary | {"final": run.final}, notes=run.notes, next_command=next_command, report=folder / "report.html"
    )
