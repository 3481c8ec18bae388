"""The report of one run: <run>/report.html and <run>/plots/*.png, rebuilt from its files alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rrl.report import page
from rrl.report.arms import Arm
from rrl.report.charts import RUN_CHARTS
from rrl.report.gallery import gallery
from rrl.report.load import Run, decisions_of, load_run
from rrl.report.phases import phased
from rrl.report.plots import write_charts
from rrl.report.review_page import review_section, run_identity
from rrl.report.sections import exploration_told
from rrl.report.summary import summary_rows
from rrl.visible import visible

_MOST_PREFIXES = 300
_MOST_VETTED = 2_000
_MOST_CHARACTERS = 20_000  # of one text; 300 of any length would make a page that no browser opens
# Column of tables/prefixes.jsonl -> heading; a column that is not there is not shown.
_PREFIX_COLUMNS = {
    "problem": "problem",
    "text": "prefix",
    "value": "P(solved)",
    "uses": "uses",
    "wins": "wins",
    "age_steps": "age (steps)",
    "depth_frac": "depth (t/T)",
    "origin": "cut from",
    "status": "status",
}


def write_run_report(folder: Path) -> Run:
    """Write plots and report.html of one run folder; returns the run. Raises as ``load_run``."""
    run = load_run(folder)
    arm = Arm(label=run.name, runs=(run,))
    write_charts(RUN_CHARTS, [arm], folder / "plots")
    body, drawings = page.curves(RUN_CHARTS, [arm])
    sections = [
        page.section("summary", "Measured and expected", _summary(run)),
        page.section("curves", "Curves", body),
        page.section("phases", "Exploration by phase", exploration_told(phased([arm]))),
        page.section("turned-section", "Prefixes that turned from failing to solved", gallery([arm])),
        page.section("stored", "Stored prefixes", _prefixes(run.prefixes)),
        page.section("vet", "Vet stored prefixes", _vetting(run, folder)),
        page.section("made", "How it was made", made_by([run]) + _config(run)),
    ]
    links = {
        "summary": "numbers", "curves": "curves", "phases": "exploration", "turned-section": "turned prefixes",
        "stored": "stored prefixes", "vet": "vet them", "made": "how it was made",
    }  # fmt: skip
    whole = page.page(f"{run.name}, seed {run.seed}", _lead(run), sections, drawings, links)
    (folder / "report.html").write_text(whole, encoding="utf-8")
    return run


def made_by(runs: Sequence[Run]) -> str:
    """Command lines, commit, versions, seeds and devices of runs, each distinct value once."""

    def distinct(key: str) -> str:
        return "; ".join(dict.fromkeys(str(r.summary[key]) for r in runs if r.summary[key]))

    versions: dict[str, Any] = {}
    for run in runs:
        versions |= run.summary["versions"]
    return page.facts(
        {
            "command": distinct("command"),
            "commit": distinct("commit"),
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
            "seeds": ", ".join(str(s) for s in sorted({r.seed for r in runs})),
            "device": distinct("device"),
        }
    )


def _lead(run: Run) -> str:
    s = run.summary
    line = f"{s['status']} after {s['steps']:,} steps, {s['sampled_tokens']:,} sampled tokens, {s['seconds']:.0f} s."
    return f"<p>{page.text(line)}</p>" + "".join(f'<p class="note">{page.text(note)}</p>' for note in run.notes)


def _summary(run: Run) -> str:
    rows = [
        (
            r.metric,
            r.measured_text,
            r.expected_text,
            page.Markup(f'<span class="{r.verdict.split()[-1]}">{r.verdict}</span>' if r.verdict else "-"),
        )
        for r in summary_rows(run.final, run.summary["expected"])
    ]
    return page.table(("metric", "measured", "expected", "verdict"), rows)


def _prefixes(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return '<p class="soft">- (this run stored no prefixes, or wrote no tables/prefixes.jsonl)</p>'
    names = [n for n in _PREFIX_COLUMNS if any(n in row for row in rows)]
    shown = sorted(rows, key=lambda r: (-r.get("wins", 0), -r.get("value", 0.0)))[:_MOST_PREFIXES]
    cells = [[_spell(row.get(n)) for n in names] for row in shown]
    texts = [names.index("text")] if "text" in names else []
    lead = f"{len(rows):,} stored, most wins first" + (
        f"; the first {len(shown):,} are shown." if len(shown) < len(rows) else "."
    )
    search = '<input type="search" id="search" placeholder="show rows that contain ..." aria-label="filter rows">'
    headings = [_PREFIX_COLUMNS[n] for n in names]
    return f"<p>{page.text(lead)}</p>{search}" + page.table(headings, cells, identity="prefixes", text_columns=texts)


def _vetting(run: Run, folder: Path) -> str:
    """The working part of ``rrl-review``'s page, over what this report has."""
    decided = decisions_of(folder)
    rows = [
        row | {"prefix": row["text"], "decision": decided.get(row["key"], "")}
        for row in run.prefixes if _whole(row)
    ][:_MOST_VETTED]  # fmt: skip
    if not rows:
        return '<p class="soft">- (no stored prefixes to decide about)</p>'
    lead = (
        "Approve, reject or flag what may be replayed, and put the review.jsonl that is saved into the run's folder: a "
        "run with replay/filter=[length,review] reads it once a step, and when it is resumed."
        + (f" The {len(rows):,} most used are here." if len(rows) < len(run.prefixes) else "")
    )
    section = review_section(rows, run=run_identity(folder), decided=decided)
    return f"<p>{page.text(lead)}</p>{section}"


def _whole(row: Mapping[str, Any]) -> bool:
    """Whether a row is of the form that a person can decide about; a file may have been spoilt or edited."""
    words = ("problem", "prompt", "task", "status", "origin")
    numbers = [row.get(name) for name in ("value", "uses", "wins", "harm", "born_step")]
    return (
        all(isinstance(row.get(name), str) for name in ("key", "text"))
        and all(isinstance(row.get(name, ""), str) for name in words)
        and all(n is None or (isinstance(n, (int, float)) and math.isfinite(n)) for n in numbers)
    )


def _spell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "-" if value is None else visible(value, _MOST_CHARACTERS)


def _config(run: Run) -> str:
    if not run.config:
        return '<p class="soft">- (no config.yaml in the folder)</p>'
    return f"<details><summary>config.yaml, as resolved</summary><pre>{page.text(run.config)}</pre></details>"
