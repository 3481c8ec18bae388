"""What a person sees while a run trains: one progress bar and one table of eight rows.

In a terminal both stay in place and are redrawn; elsewhere (a log file, CI) a few whole tables are
printed over the token budget, so a log never fills with thousands of lines.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from rrl.records import Progress
from rrl.terminal import screen
from rrl.tracker.console_rows import ROWS, short
from rrl.types import Metrics
from rrl.visible import visible

_MOST_OF_A_TITLE = 200  # characters of a run's name


class Console:
    """Progress bar over sampled tokens, with the time that is left, above a table of the run.

    Args:
      token_budget: sampled tokens of the whole run; > 0.
      name: what the table is headed with, the experiment.
      seed: of the run.
      refresh_per_s: redraws a second in a terminal; >= 1.
      plain_tables: tables printed over the budget outside a terminal, the last one at the end; 0 = none.
    Raises:
      ValueError: a number out of its range.
    """

    def __init__(self, *, token_budget: int, name: str, seed: int, refresh_per_s: int, plain_tables: int) -> None:
        if refresh_per_s < 1:
            raise ValueError(f"tracker.console.refresh_per_s is {refresh_per_s}; expected >= 1")
        if plain_tables < 0:
            raise ValueError(f"tracker.console.plain_tables is {plain_tables}; expected >= 0 (0 = none)")
        self._budget, self._title = token_budget, visible(f"{name}, seed {seed}", _MOST_OF_A_TITLE)
        self._refresh_per_s, self._plain_tables, self._printed = refresh_per_s, plain_tables, 0
        self._rich = screen()
        self._in_place = sys.stdout.isatty() and not self._rich.is_dumb_terminal
        self._first: Metrics = {}
        self._now: Metrics = {}
        self._step = self._tokens = 0
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[done]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task(self._title, total=token_budget, done="")
        self._live: Live | None = None
        self._restore_logs: list[tuple[logging.StreamHandler[Any], Any]] = []

    def log(self, progress: Progress, metrics: Metrics) -> None:
        """Redraw. Evaluations stand until the next one; everything else is of this step."""
        if progress.step != self._step:
            self._now = {k: v for k, v in self._now.items() if k.startswith("eval/")}
        self._now = self._now | metrics
        self._first = metrics | self._first
        self._step, self._tokens = progress.step, progress.sampled_tokens
        if self._in_place:
            done = f"{short(progress.sampled_tokens)} / {short(self._budget)} tokens"
            self._bar.update(self._task, completed=progress.sampled_tokens, done=done)
            self._open().update(Group(self._bar, self._table()))
        elif self._plain_tables:
            due = int(progress.done_frac * self._plain_tables)
            if self._printed < due < self._plain_tables:
                self._printed = due
                self._rich.print(self._table())

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Tables of a run are for its report."""

    def artifact(self, path: Path, kind: str) -> None:
        """Nothing to show."""

    def close(self, status: str) -> None:
        """Leave the last table standing."""
        if not self._now:
            return
        if self._live is not None:
            self._live.update(Group(self._bar, self._table()), refresh=True)
            self._live.stop()
            self._live = None
            for handler, stream in self._restore_logs:
                handler.setStream(stream)
        elif self._plain_tables:
            self._rich.print(self._table())
        if status != "finished":
            self._rich.print(f"{self._title}: {status} at step {self._step}", markup=False)
        self._now = {}

    def _table(self) -> Table:
        title = f"{self._title}: step {self._step}, {short(self._tokens)} of {short(self._budget)} sampled tokens"
        table = Table(title=Text(title), box=box.ROUNDED, title_justify="left", title_style="bold")
        table.add_column("measure", no_wrap=True)
        table.add_column("now", justify="right", no_wrap=True)
        table.add_column("at first", justify="right", no_wrap=True)
        for row in ROWS:
            table.add_row(row.label, row.show(self._now, self._first), row.show_first(self._first))
        return table

    def _open(self) -> Live:
        if self._live is None:
            old = {id(sys.stdout): "stdout", id(sys.stderr): "stderr"}
            self._live = Live(console=self._rich, refresh_per_second=self._refresh_per_s)
            self._live.start()
            # Live prints lines above the table where they come through sys.stdout and sys.stderr; log
            # handlers hold the streams of before and would write into the middle of it.
            for handler in logging.getLogger().handlers:
                if isinstance(handler, logging.StreamHandler) and id(handler.stream) in old:
                    self._restore_logs.append((handler, handler.stream))
                    handler.setStream(getattr(sys, old[id(handler.stream)]))
        return self._live
