"""Stored states for people to vet: a page that works from a file, and the same as a part of another page.

Nothing of a model's or a data set's text is ever markup: it stands as JSON in a script element that no browser runs,
and reaches the page as text. A whole page besides forbids itself everything but its own two scripts' worth of code.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rrl.visible import visible

_MOST_CHARS = 20_000  # of a prompt or prefix; a person decides long before
_TEXTS = ("problem", "prompt", "prefix", "task")
_NUMBERS = ("value", "uses", "wins", "harm", "born_step")
_WORDS = ("key", "decision", "status", "origin")
_DECISIONS = {
    "approved": ("approve", "a"), "rejected": ("reject", "r"), "flagged": ("flag", "f"), "": ("undecide", "u"),
}  # fmt: skip


def run_identity(folder: Path) -> str:
    """What decisions are kept under in a reader's browser: the folder's name, and a digest of where it is."""
    home = folder.resolve()
    return f"{home.name} {hashlib.sha256(str(home).encode()).hexdigest()[:12]}"


def review_section(
    rows: Sequence[Mapping[str, Any]], *, run: str, decided: Mapping[str, str] = MappingProxyType({}),
    harm: str = "harm", alone: bool = False,
) -> str:
    """The page's working part with its style and script: HTML to put anywhere below ``<body>``, once a page.

    Args:
      rows: a state each: ``key`` and ``prefix``; besides, where known, ``problem``, ``prompt``, ``task``, ``value``,
        ``uses``, ``wins``, ``harm``, ``born_step``, ``status``, ``origin`` and what was decided before, ``decision``.
      run: names the run; decisions are kept in the reader's browser under it.
      decided: all that was decided before, by key. What is saved here has it too, also of states that are gone: a
        rejected one is no longer stored, and whoever replaces the run's file must not let it in again.
      harm: what the harm score is called.
      alone: keys act wherever the focus is; elsewhere only inside this section.
    """
    before = html.escape(json.dumps(dict(decided), separators=(",", ":")))
    attributes = f'data-run="{html.escape(run)}" data-decided="{before}"' + (" data-alone" if alone else "")
    return (
        f"<style>{_asset('review.css')}</style>\n"
        f'<section class="review" {attributes}>{_frame(rows, harm)}\n'
        f'<script type="application/json" data-is="rows">{_data(rows)}</script></section>\n'
        f"<script>{_asset('review.js')}</script>"
    )


def review_page(
    rows: Sequence[Mapping[str, Any]], *, title: str, run: str, decided: Mapping[str, str] = MappingProxyType({}),
    note: str = "", harm: str = "harm",
) -> str:
    """One self-contained HTML file. note: a line under the title; the rest as ``review_section`` has it."""
    digest = base64.b64encode(hashlib.sha256(_asset("review.js").encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    below = f'<div class="lead">{html.escape(note)}</div>' if note else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>review: {html.escape(title)}</title><link rel="icon" href="data:,"></head>
<body class="review-alone"><h1>{html.escape(title)}</h1>{below}
{review_section(rows, run=run, decided=decided, harm=harm, alone=True)}
</body></html>
"""


def _data(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as JSON that can end no script element and begin no comment."""
    plain = [
        {name: visible(row[name], _MOST_CHARS) for name in _TEXTS if name in row}
        | {name: _rounded(row[name]) for name in _NUMBERS if row.get(name) is not None}
        | {name: str(row[name]) for name in _WORDS if row.get(name)}
        for row in rows
    ]
    return json.dumps(plain, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _frame(rows: Sequence[Mapping[str, Any]], harm: str) -> str:
    """Everything but the rows: filters for what these rows have, buttons, and two empty panes."""
    choices = {"task": "any task", "status": "any status"}
    selects = "".join(_select(name, label, sorted({str(r[name]) for r in rows if r.get(name)}))
                      for name, label in choices.items())
    known = [name for name in ("value", "uses", "harm") if any(row.get(name) is not None for row in rows)]
    ranges = "".join(_range(name, harm if name == "harm" else name) for name in known)
    orders = ["stored", *(o for o in ("value down", "value up", "uses down", "harm down") if o.split()[0] in known)]
    order = "".join(f'<option value="{o}">{"oldest first" if o == "stored" else o}</option>' for o in orders)
    decide = "".join(f'<button type="button" data-decision="{d}">{name} <kbd>{key}</kbd></button>'
                     for d, (name, key) in _DECISIONS.items())
    every = "".join(f'<button type="button" data-all="{d}">{name}</button>' for d, (name, _) in _DECISIONS.items())
    return f"""
<div class="bar"><strong data-is="counts"></strong><span class="said" data-is="said" role="status"></span>
<span class="group"><button type="button" data-is="save">save review.jsonl <kbd>s</kbd></button>
<button type="button" data-is="write" hidden>save into a file ...</button>
<button type="button" data-is="load">load ...</button>
<input type="file" data-is="file" accept=".jsonl,.json,.txt" hidden></span></div>
<div data-is="lost" class="said" hidden>This browser keeps nothing for this page: save before you leave.</div>
<details class="filters" data-is="filters" open><summary>filters</summary><div class="bar">
<input type="search" name="find" data-is="find" placeholder="text contains ..." aria-label="text contains">
{selects}{_select("decision", "any decision", ["undecided", "approved", "rejected", "flagged"])}{ranges}
<select name="order" aria-label="order">{order}</select>
<button type="button" data-is="clear">clear</button>
<span class="group">all shown: {every}</span></div></details>
<div class="panes">
<div class="list" data-is="list" role="listbox" aria-label="states" tabindex="0"><div data-is="tall"></div></div>
<div class="state" data-is="state"><p data-is="none" hidden>No state is as the filters ask.</p>
<div data-is="one"><h3 data-is="problem"></h3><dl class="facts" data-is="facts"></dl>
<pre><span data-is="prompt"></span><mark data-is="prefix"></mark></pre></div></div></div>
<div class="bar decide">{decide}
<button type="button" data-is="up" aria-label="previous">&#8593; <kbd>k</kbd></button>
<button type="button" data-is="down" aria-label="next">&#8595; <kbd>j</kbd></button>
<button type="button" class="more" data-is="back">take back <kbd>z</kbd></button>
<span class="said more"><kbd>n</kbd> next undecided, <kbd>/</kbd> search</span></div>"""


def _select(name: str, label: str, options: Sequence[str]) -> str:
    listed = "".join(f'<option value="{html.escape(o)}">{html.escape(o)}</option>' for o in options)
    return f'<select name="{name}" aria-label="{name}"><option value="">{label}</option>{listed}</select>'


def _range(name: str, label: str) -> str:
    bounds = " to ".join(f'<input type="number" step="any" name="{name} {end}" aria-label="{name} {end}">'
                         for end in ("from", "to"))
    return f"<label>{html.escape(label)} {bounds}</label>"


def _asset(name: str) -> str:
    return (files("rrl.report") / "assets" / name).read_text(encoding="utf-8")
