"""From an evaluation's folder to everything that is read: figures in ``eval.json``, plots, page, printed tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from rrl.report.evaluation.figures import figures
from rrl.report.evaluation.load import RECORD, is_evaluation, load_evaluation
from rrl.report.evaluation.page import samples_page
from rrl.report.evaluation.plots import write_plots
from rrl.report.evaluation.tables import print_evaluation
from rrl.report.evaluation.versus import versus
from rrl.report.summary import print_pointers
from rrl.shards import write_json

PAGE = "samples.html"


def finish_evaluation(folder: Path, *, baseline: Path | None) -> dict[str, Any]:
    """Make everything anew from the samples, print it, and return what ``eval.json`` now holds.

    Args:
      folder: an evaluation's.
      baseline: another's, to compare with; None = the one that it was compared with last, if any.
    Raises:
      ValueError: a folder cannot be read, or the two are of different problems.
    """
    evaluation = load_evaluation(folder)
    record = evaluation.record
    record["figures"] = figures(evaluation.rows, record["k"])
    record["status"] = "finished" if evaluation.finished else "unfinished"
    write_json(folder / RECORD, record)  # the figures are safe, whatever is wrong with the baseline
    if baseline is None and record.get("versus") and is_evaluation(Path(record["versus"]["baseline"])):
        baseline = Path(record["versus"]["baseline"])
    if baseline is not None:
        record["versus"] = versus(evaluation, load_evaluation(baseline))
        write_json(folder / RECORD, record)
    write_plots(record["figures"], folder / "plots")
    (folder / PAGE).write_text(samples_page(evaluation), encoding="utf-8", errors="replace")
    console = Console()
    print_evaluation(record, console)
    if not evaluation.finished:
        next_command = f"rrl-eval resume={folder}"
    elif "versus" in record:
        next_command = f"rrl-report {folder}"
    else:
        next_command = f"rrl-eval resume={folder} baseline=<another evaluation, run or checkpoint>"
    print_pointers(console, report=folder / PAGE, next_command=next_command)
    return record
