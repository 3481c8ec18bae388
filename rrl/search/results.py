"""What a search has found: a table of its best trials, the command that repeats the best one, a CSV of all."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rrl.search.space import Space
from rrl.visible import csv_cell

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_MOST_ROWS = 12  # of the table; trials.csv has them all


def print_results(study: Study, space: Space, extra: Sequence[str], console: Console) -> None:
    """The best trials, best first, and the command that repeats the best one."""
    best = ranked(study)
    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    counts = ", ".join(f"{states.count(state)} {words}" for state, words in _STATES.items() if state in states)
    table = Table(title=Text(f"{space.name}: {counts}"), box=box.ROUNDED, title_justify="left")
    for heading in ("trial", space.metric, *short_names([axis.key for axis in space.axes])):
        table.add_column(heading, justify="right", overflow="fold")
    for trial in best[:_MOST_ROWS]:
        shown = [override.partition("=")[2] for override in trial.user_attrs["overrides"]]
        table.add_row(str(trial.number), f"{trial.value:.4f}", *map(Text, shown))  # [a,b] is no markup
    console.print(table)
    if best:
        words = ["best:", "rrl-train", *space.overrides, *extra, *best[0].user_attrs["overrides"]]
        console.print(" ".join(words), markup=False, highlight=False, soft_wrap=True)


def write_results(study: Study, path: Path) -> None:
    """A row a trial: number, state, value, its overrides."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("trial", "state", "value", "overrides"))
        for trial in study.get_trials(deepcopy=False):
            overrides = " ".join(trial.user_attrs.get("overrides", []))
            rows.writerow((trial.number, _STATES[trial.state.name], trial.value, csv_cell(overrides)))


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each key, the whole key where two share it: [a.lr, b.eta, c.eta] -> [lr, b.eta, c.eta]."""
    last = [key.replace("/", ".").rpartition(".")[2] for key in keys]
    return [key if last.count(name) > 1 else name for key, name in zip(keys, last, strict=True)]


def ranked(study: Study) -> list[FrozenTrial]:
    """Finished trials, best first; of equal ones the earlier."""
    sign = -1.0 if study.direction.name == "MAXIMIZE" else 1.0
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    return sorted(finished, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


_STATES = {"COMPLETE": "finished", "FAIL": "failed", "RUNNING": "stopped", "WAITING": "waiting", "PRUNED": "pruned"}
