"""The browsable page of samples: ``samples.html``, one file, nothing from the network.

What a model wrote is hostile: every text goes through ``shown``, into elements that hold text alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rrl.report import page
from rrl.report.evaluation.figures import num_solved
from rrl.report.evaluation.load import Evaluation
from rrl.report.evaluation.plots import inline_svgs
from rrl.report.evaluation.tables import (
    DIFFERENCE_HEADINGS,
    DIFFICULTY_HEADINGS,
    FIGURE_HEADINGS,
    difference_rows,
    difficulty_rows,
    figure_rows,
    title_of,
    win_line,
)
from rrl.visible import visible

MOST_PROBLEMS = 200  # on the page; samples.jsonl has all
MOST_RESPONSES = 16  # of one problem on the page
_MOST_CHARACTERS = 20_000  # of one text on the page


def samples_page(evaluation: Evaluation) -> str:
    """The whole file."""
    record, rows = evaluation.record, evaluation.scored
    parts = [page.section("figures", "Figures", _figures(record)), page.section("samples", "Samples", _samples(rows))]
    links = {"figures": "figures", "samples": "samples", "made": "how it was made"}
    if versus := record.get("versus"):
        parts.insert(1, page.section("baseline", "Beside the baseline", _versus(versus)))
        links = {"figures": "figures", "baseline": "baseline", "samples": "samples", "made": "how it was made"}
    parts.append(page.section("made", "How it was made", _made(record)))
    lead = f"<p>{shown(title_of(record))}</p>"
    if not evaluation.finished:
        lead += '<p class="note">This evaluation was stopped before its end; figures are of the problems so far.</p>'
    return page.page(visible(f"Evaluation of {record['name']}", 300), lead, parts, [], links)


def shown(text: object) -> str:
    """Text that a model may have written, as HTML text: escaped, control characters visible, not without end."""
    return page.text(visible(text, _MOST_CHARACTERS))


def _figures(record: Mapping[str, Any]) -> str:
    tables = page.table(FIGURE_HEADINGS, figure_rows(record["figures"]), left_columns=[3])
    tables += "<h3>By difficulty</h3>" + page.table(DIFFICULTY_HEADINGS, difficulty_rows(record["figures"]))
    plots = "".join(f'<div class="card">{svg}</div>' for svg in inline_svgs(record["figures"]))
    note = '<p class="soft">Intervals: percentile bootstrap, 10,000 resamples of problems.</p>'
    return f'{tables}{note}<div class="grid">{plots}</div>'


def _versus(versus: Mapping[str, Any]) -> str:
    told = f"<p>{shown(versus['baseline'])}</p>"
    if versus["differences"]:
        told += page.table(DIFFERENCE_HEADINGS, difference_rows(versus)) + f"<p>{page.text(win_line(versus))}</p>"
    return told


def _samples(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return '<p class="soft">- (no problem was scored)</p>'
    kept = rows[:MOST_PROBLEMS]
    most = max(len(row["responses"]) for row in kept)
    lead = (f"{len(kept):,} of " if len(kept) < len(rows) else "") + f"{len(rows):,} problems" + (
        f", {MOST_RESPONSES} of {most:,} responses each" if most > MOST_RESPONSES else ""
    )
    labels = sorted({row["difficulty"] for row in kept})
    choices = "".join(f'<option value="{shown(label)}">{shown(label)}</option>' for label in labels)
    controls = (
        '<div class="filters">'
        '<input type="search" id="find" placeholder="search all text ..." aria-label="search text">'
        '<select id="outcome" aria-label="solved or not"><option value="">solved and unsolved</option>'
        '<option value="some">ever solved</option><option value="none">never solved</option>'
        '<option value="mixed">solved and failed</option></select>'
        f'<select id="difficulty" aria-label="difficulty"><option value="">any difficulty</option>{choices}</select>'
        '<button type="button" id="unfold">open all</button>'
        f'<span class="soft" id="matching">{page.text(lead)}</span></div>'
    )
    return controls + "\n".join(_problem(row) for row in kept)


def _problem(row: Mapping[str, Any]) -> str:
    solved, total = num_solved(row), len(row["responses"])
    outcome = "none" if not solved else "all" if solved == total else "mixed"
    first_line = next((line for line in str(row["prompt"]).splitlines() if line.strip()), "")[:120]
    head = (
        f'<summary><span class="badge {"ok" if solved else "outside"}">{solved}/{total}</span> '
        f'<b>{shown(row["problem"])}</b> <span class="soft">{shown(row["difficulty"])}</span> '
        f"<span>{shown(first_line)}</span></summary>"
    )
    asked = f'<h3>prompt</h3><pre>{shown(row["prompt"])}</pre>'
    if row["answer"]:
        asked += f'<h3>answer</h3><pre>{shown(row["answer"])}</pre>'
    answers = [("greedy", row["greedy"])] if row["greedy"] else []
    answers += [(f"sample {i + 1}", response) for i, response in enumerate(row["responses"][:MOST_RESPONSES])]
    cards = "".join(_response(name, response) for name, response in answers)
    return (
        f'<details class="problem" data-outcome="{outcome}" data-difficulty="{shown(row["difficulty"])}">'
        f'{head}{asked}<div class="responses">{cards}</div></details>'
    )


def _response(name: str, response: Mapping[str, Any]) -> str:
    facts = [f"score {response['score']:.3g}", f"{response['tokens']:,} tokens"]
    if not response["ended"]:
        facts.append("cut")
    if tests := response.get("tests"):
        facts.append(f"{tests['passed']}/{tests['total']} tests, {tests['kind'].replace('_', ' ')}")
    verdict = '<span class="ok">solved</span>' if response["solved"] else '<span class="outside">not solved</span>'
    head = f"<h3>{page.text(name)}: {verdict}</h3><p class=\"soft\">{page.text(', '.join(facts))}</p>"
    return f'<div class="card">{head}<pre>{shown(response["text"])}</pre></div>'


def _made(record: Mapping[str, Any]) -> str:
    request = record["request"]
    return page.facts({
        "command": record["command"], "commit": record["commit"], "checkpoint": record["checkpoint"] or "",
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "device": record["device"], "task": f"{request['task']} ({request['task_fingerprint']})",
        "weights": request["weights"], "seed": request["seed"],
    })  # fmt: skip
