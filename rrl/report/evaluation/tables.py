"""What ``rrl-eval`` prints: figures with their intervals, and the comparison with a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rrl.metrics import CATALOGUE
from rrl.visible import visible

FIGURE_HEADINGS = ("figure", "value", "95 % interval", "what it is")
DIFFICULTY_HEADINGS = ("difficulty", "problems", "pass@1", "95 % interval", "greedy", "95 % interval")
_MOST_OF_A_CELL = 200  # characters
DIFFERENCE_HEADINGS = ("figure", "here", "baseline", "difference", "95 % interval", "p")


def figure_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(figure, value, interval, what it is) of every figure over all problems."""
    rows = [_row(f"pass@{k}", e, "a solved response among k") for k, e in figures.get("pass_at_k", {}).items()]
    if "greedy" in figures:
        rows.append(_row("greedy", figures["greedy"], "solved by the likeliest tokens"))
    if "tests_passed_frac" in figures:
        rows.append(_row("tests passed", figures["tests_passed_frac"], "share of a program's tests; not run = failed"))
    rows += [_row(kind.replace("_", " "), e, "share of programs") for kind, e in figures.get("verdicts", {}).items()]
    about = {"score": "mean score", "tokens": "mean length of a response", "cut_frac": "responses cut by their limit"}
    return rows + [_row(n.removesuffix("_frac"), figures[n], words) for n, words in about.items() if n in figures]


def difficulty_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    """(difficulty, problems, pass@1, interval, greedy, interval)."""
    return [
        (visible(label, 60), f"{part['num_problems']:,}", spell(part["sampled"]["value"]), _interval(part["sampled"]),
         *((spell(part["greedy"]["value"]), _interval(part["greedy"])) if "greedy" in part else ("-", "-")))
        for label, part in figures.get("by_difficulty", {}).items()
    ]  # fmt: skip


def difference_rows(versus: Mapping[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    """(figure, mine, baseline, difference, interval, p) of every paired difference."""
    return [
        (name, spell(d["mine"]), spell(d["baseline"]), spell(d["value"], sign=True), _interval(d, sign=True),
         "< .001" if d["p_value"] < 0.001 else f"{d['p_value']:.3f}")
        for name, d in versus["differences"].items()
    ]  # fmt: skip


def win_line(versus: Mapping[str, Any]) -> str:
    """The win rate in one sentence."""
    win = versus["win_rate"]
    return (f"win rate {spell(win['value'])} ({_interval(win)}): better on {win['won']:,} problems, "
            f"equal on {win['tied']:,}, worse on {win['lost']:,}")  # fmt: skip


def title_of(record: Mapping[str, Any]) -> str:
    """What was evaluated, on what, and how."""
    request = record["request"]
    where = f", step {record['step']}" if record["step"] is not None else ""
    return (f"{record['name']}{where}: {request['num_problems']:,} {request['split']} problems of {request['task']}, "
            f"{request['num_samples']} samples each at temperature {record['temperature']:g}")  # fmt: skip


def print_evaluation(record: Mapping[str, Any], console: Console) -> None:
    """The boxed tables of ``eval.json``: figures, comparison, and the run's own evaluation where there is one."""
    console.print(visible(title_of(record), 1000), style="bold", markup=False, highlight=False, soft_wrap=True)
    console.print(_table(FIGURE_HEADINGS, figure_rows(record["figures"]), words=3))
    if rows := difficulty_rows(record["figures"]):
        console.print(_table(DIFFICULTY_HEADINGS, rows))
    if dropped := record["figures"]["num_dropped"]:
        console.print(f"{dropped:,} problems are left out: their reward failed; see the log", style="bold red")
    if versus := record.get("versus"):
        console.print(f"beside {versus['baseline']}", style="bold", markup=False, highlight=False, soft_wrap=True)
        if versus["differences"]:
            console.print(_table(DIFFERENCE_HEADINGS, difference_rows(versus)))
            console.print(win_line(versus), markup=False, highlight=False)
        if not versus["same_prompts"]:
            console.print("the prompts are spelled differently: another template or tokenizer", style="yellow")
    if own := [(name, spell(value), CATALOGUE[name].about) for name, value in record["metrics"].items()
                if name in CATALOGUE]:
        console.print("the run's own evaluation, as during training", style="bold")
        console.print(_table(("metric", "value", "what it is"), own, words=2))


def spell(value: float, *, sign: bool = False) -> str:
    """Three digits behind the point; large numbers with one."""
    plus = "+" if sign else ""
    return f"{value:{plus}.3f}" if abs(value) < 10 else f"{value:{plus},.1f}"


def _row(name: str, estimate: Mapping[str, Any], words: str) -> tuple[str, str, str, str]:
    return name, spell(estimate["value"]), _interval(estimate), words


def _interval(estimate: Mapping[str, Any], *, sign: bool = False) -> str:
    if estimate["low"] is None:
        return "- (one problem)"
    return f"{spell(estimate['low'], sign=sign)} to {spell(estimate['high'], sign=sign)}"


def _table(headings: tuple[str, ...], rows: list[Any], words: int | None = None) -> Table:
    table = Table(box=box.ROUNDED)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place in (0, words) else "right", no_wrap=place != words)
    for row in rows:
        table.add_row(*(Text(visible(cell, _MOST_OF_A_CELL)) for cell in row))
    return table
