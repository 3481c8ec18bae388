"""The parts of a comparison that answer a question each: who is better, who explores, what it costs, what differs.

Every part is HTML and, where it has a picture, a PNG beside the page; a part without data says what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl

from rrl.report import page
from rrl.report.aggregate import REPETITIONS, Interval
from rrl.report.arms import Arm
from rrl.report.contrast import Contrast, spell
from rrl.report.cost import HEADLINE, Cost, costs
from rrl.report.phases import PHASES, Phased, answers, phase_rows, phased
from rrl.report.pictures import Picture, cost_picture, phase_picture, standing_picture
from rrl.report.settings import differing
from rrl.report.standing import Standing, standings
from rrl.report.svg import STYLE, as_svg

_WHAT = "hard success"
_FEW_SEEDS = 5  # below it a bootstrap resamples so few numbers that its interval is too narrow
_MOST_SETTINGS = 150  # rows


def aggregate_section(arms: Sequence[Arm], out: Path) -> str:
    """IQM, mean and probability of improvement over tasks and seeds, with performance profiles."""
    rows = standings(arms, HEADLINE)
    if not rows:
        return _missing(f"no run recorded {HEADLINE}")
    cells = [
        [r.label, len(r.scores), sum(map(len, r.scores.values())), _between(r.iqm), _between(r.mean), _better(r)]
        for r in rows
    ]
    headings = ("arm", "tasks", "runs", f"IQM of {_WHAT}", "mean", "P(better than the baseline)")
    fewest = min(len(x) for r in rows for x in r.scores.values())
    note = (
        f"In brackets: 95 % percentile interval of {REPETITIONS:,} resamples of seeds within each task (Agarwal et al. "
        "2021). P(better): how likely one run of the arm beats one of the baseline; .5 is no difference."
    )
    if fewest < _FEW_SEEDS:
        seeds = f"{fewest} seed{'s' if fewest > 1 else ''}"
        note += f" With {seeds} in some arm these intervals are too narrow; the t-intervals above are not."
    picture = _drawn(standing_picture(rows, _WHAT), out / "aggregate.png")
    return page.table(headings, cells) + _soft(note) + picture


def exploration_section(arms: Sequence[Arm], out: Path) -> str:
    """Early, middle and late thirds: does exploration decline, and does replay keep it?"""
    found = phased(arms)
    return exploration_told(found) + (_drawn(phase_picture(found, arms), out / "phases.png") if found else "")


def exploration_told(found: Sequence[Phased]) -> str:
    """The same without its picture."""
    if not found:
        return _missing("no run recorded an exploration metric (rollout/entropy_nats_fresh, explore/new_solves, ...)")
    said = "".join(f'<p class="answer">{page.text(line)}</p>' for line in answers(found))
    headings = ("measure", "arm", *PHASES, "late minus early", "late minus the baseline's")
    note = (
        "Thirds of the tokens sampled after value warm-up; means over seeds \u00b1 95 % t-interval, differences on the "
        "same seeds. Counts of problems are those at the end of each third."
    )
    table = page.table(headings, phase_rows(found), left_columns=(1,))
    return said + table + _soft(note)


def cost_section(arms: Sequence[Arm], out: Path) -> str:
    """Seconds, bytes and tokens of replay beside its gain."""
    baseline, rows = costs(arms)
    headings = ("arm", "gain in hard success", "steps", "seconds", "extra seconds", "in replay (s)", "store, largest",
                "sampled tokens", "behind prefixes", "judging states", "prefix tokens read again")  # fmt: skip
    note = (
        f"Means over seeds; gain and extra seconds are against {baseline.label} on the same seeds, \u00b1 95 % "
        "t-interval. Seconds of all steps; in replay: re-scoring, drawing, booking. Arms sample equally many tokens, "
        "so those behind prefixes are taken from fresh rows."
    )
    cells = [_cost_cells(row) for row in rows]
    return page.table(headings, cells) + _soft(note) + _drawn(cost_picture(rows), out / "cost.png")


def settings_section(arms: Sequence[Arm]) -> str:
    """A row a setting that differs between arms."""
    if len(arms) < 2:
        return _missing("one arm: nothing to differ from")
    rows, notes = differing(arms)
    told = "".join(f'<p class="note">{page.text(note)}</p>' for note in notes)
    if not rows:
        return told + _missing("the resolved configs of all arms are equal, or none could be read")
    shown = [[key, *values] for key, values in list(rows.items())[:_MOST_SETTINGS]]
    more = _soft(f"The first {len(shown)} of {len(rows)} settings.") if len(shown) < len(rows) else ""
    return told + page.table(("setting", *(a.label for a in arms)), shown, left_columns=range(1, len(arms) + 1)) + more


def _cost_cells(row: Cost) -> list[str]:
    return [
        row.arm.label, spell(row.gain, sign=True), spell(row.steps, digits=0), spell(row.seconds, digits=1),
        spell(row.extra_seconds, digits=1, sign=True), _share(row.replay_seconds, row.seconds, digits=1),
        spell_bytes(row.store_bytes),
        spell(row.sampled_tokens and row.sampled_tokens._replace(half=None), digits=0),
        _share(row.replayed_tokens, row.sampled_tokens), _share(row.judging_tokens, row.sampled_tokens),
        spell(row.prefix_tokens and row.prefix_tokens._replace(half=None), digits=0),
    ]  # fmt: skip


def _share(part: Contrast | None, whole: Contrast | None, *, digits: int = 0) -> str:
    """"12 (34%)": a part and its share of the whole."""
    if part is None:
        return "-"
    return f"{part.mean:,.{digits}f}" + (f" ({part.mean / whole.mean:.0%})" if whole and whole.mean else "")


def spell_bytes(found: Contrast | None) -> str:
    """1,234,567 bytes -> "1.2 MB"."""
    if found is None:
        return "-"
    size, units = found.mean, ["B", "kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _between(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _better(row: Standing) -> str:
    return "-" if row.better is None else _between(row.better)


def _drawn(picture: Picture, path: Path) -> str:
    """Write the PNG; the panels as SVGs, side by side where there is room."""
    with mpl.rc_context(STYLE):
        picture.whole().savefig(path)
    panels = [as_svg(partial(picture.single, n)) for n in range(len(picture.panels))]
    return '<div class="grid">' + "".join(f'<div class="card">{svg}</div>' for svg in panels) + "</div>"


def _soft(words: str) -> str:
    return f'<p class="soft">{page.text(words)}</p>'


def _missing(why: str) -> str:
    return _soft(f"- ({why})")
