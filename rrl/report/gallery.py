"""Prefixes that turned from failing to solved, as a table that a person reads.

A model wrote these texts: they are escaped and cut to length, and stand in elements that hold text alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rrl.report import page
from rrl.report.arms import Arm
from rrl.visible import visible

_MOST_ROWS = 120  # on a page; tables/turned.jsonl of each run has more
_MOST_CHARACTERS = 1_500  # of one text
_HEADINGS = ("arm", "seed", "problem", "prompt", "prefix", "how it was then solved", "tries, in order",
             "failed before", "turned at step")  # fmt: skip


def gallery(arms: Sequence[Arm]) -> str:
    """HTML: how many turned in each arm, then those with most failures before, an equal number a run at first."""
    found = [[(arm, run.seed, row) for row in run.turned if _whole(row)] for arm in arms for run in arm.runs]
    total = sum(map(len, found))
    if not total:
        why = "no run has rows in tables/turned.jsonl: nothing was replayed, nothing turned, or another version ran"
        return f'<p class="soft">- ({why})</p>'
    most = max(1, _MOST_ROWS // max(1, sum(bool(rows) for rows in found)))
    shown = sorted((r for rows in found for r in rows[:most]), key=lambda r: -r[2]["failures"])[:_MOST_ROWS]
    counts = ", ".join(f"{arm.label}: {n}" for arm in arms if (n := sum(len(run.turned) for run in arm.runs)))
    lead = f"A prefix turned when no row of its first replay was solved and a row of a later one was. {counts}." + (
        f" The {len(shown)} with most failures before are shown." if len(shown) < total else ""
    )
    rows = [
        [arm.label, seed, *(visible(row[k], _MOST_CHARACTERS) for k in ("problem", "prompt", "prefix", "continuation")),
         page.Markup(_strip(row["tries"])), row["failures"], row["turned_step"]]
        for arm, seed, row in shown
    ]  # fmt: skip
    search = '<input type="search" data-filter="turned" placeholder="show rows that contain ..." ' \
             'aria-label="filter rows">'  # fmt: skip
    table = page.table(_HEADINGS, rows, identity="turned", text_columns=(3, 4, 5), left_columns=(2, 6))
    return f"<p>{page.text(lead)}</p>{search}{table}"


def _strip(tries: Sequence[Sequence[int]]) -> str:
    """A box a step that replayed it: hollow where nothing was solved, else filled by the solved share."""
    boxes = "".join(
        f'<i class="{"won" if solved else "lost"}" title="step {step}: {solved} of {rows} solved"></i>'
        for step, rows, solved in tries
    )
    told = " ".join(f"{solved}/{rows}" for _, rows, solved in tries)
    return f'<span class="tries" role="img" aria-label="{page.text(told)}">{boxes}</span>'


def _whole(row: Mapping[str, Any]) -> bool:
    """Whether the row is of this version's form."""
    texts = all(isinstance(row.get(k), str) for k in ("problem", "prompt", "prefix", "continuation"))
    tries = row.get("tries")
    counts = all(isinstance(row.get(k), int) for k in ("failures", "turned_step"))
    if not texts or not counts or not isinstance(tries, list):
        return False
    return all(isinstance(t, list) and len(t) == 3 and all(isinstance(n, int) for n in t) for t in tries)
