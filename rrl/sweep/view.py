"""What a person sees of a running sweep: how many jobs are done, which run and how far they are, when it will end.

In a terminal a bar and a table stay in place; elsewhere (a log file, CI) each job that starts or ends is a line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rrl.reading import json_of
from rrl.sweep.jobs import Job
from rrl.sweep.pool import LOG

_STYLES = {"finished": "green", "skipped": "cyan", "failed": "bold red", "interrupted": "yellow", "elsewhere": "yellow"}
_LAST_BYTES = 65536  # of metrics.jsonl that are read for its last line; a line has a few thousand
_TRACEBACK, _DOOR = 9, 2  # lines of a traceback that are shown, of a crash and of a refusal; done.json has them all


def terminal() -> Console:
    """The terminal; where there is none, lines of a width that a log file has."""
    return Console() if sys.stdout.isatty() else Console(width=160)


class Row(NamedTuple):
    """A running job: where, and for how many seconds."""

    job: Job
    place: str
    seconds: float


class View:
    """The progress of one sweep.

    Args:
      title: of the sweep, its folder.
      num_jobs: in all.
      slots: jobs that run at a time.
      refresh_s: seconds between redraws; > 0.
      console: where to.
    """

    def __init__(self, *, title: str, num_jobs: int, slots: int, refresh_s: float, console: Console) -> None:
        self._title, self._num_jobs, self._slots, self._refresh_s = title, num_jobs, slots, refresh_s
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._ended, self._drawn = 0, 0.0
        self._errors: dict[str, str] = {}  # error -> the first job that had it

    def __enter__(self) -> View:
        self.say(f"{self._title}: {self._num_jobs} jobs, {self._slots} at a time")
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def event(self, job: Job, state: str, why: str) -> None:
        """A job started or ended."""
        if state == "started" and self._live is not None:
            return  # the table shows it
        self._ended += state != "started"
        style = _STYLES.get(state, "")
        count = f"[{self._ended}/{self._num_jobs}] "
        line = Text.assemble(count, (f"{state:<11}", style), f" {job.folder.name} ({why})")
        self._console.print(line, highlight=False, soft_wrap=True)

    def failure(self, job: Job, error: str, traceback: str | None) -> None:
        """A job crashed: its error, the end of its traceback, where to read more; an error seen before costs a line."""
        if error in self._errors:
            self.event(job, "failed", f"as {self._errors[error]}: {error}")
            return
        self._errors[error] = job.folder.name
        self._ended += 1
        body = [Text(error, style="bold")]
        body += [Text(line, style="dim") for line in end_of(traceback or "", error)]
        body += [Text(f"record {job.folder / 'done.json'}"), Text(f"log    {job.folder / LOG}")]
        title = Text(f"[{self._ended}/{self._num_jobs}] {job.folder.name} failed: {job.label}")
        self._console.print(Panel(Group(*body), title=title, title_align="left", border_style="red"))

    def close(self, counts: Mapping[str, int], waiting: int) -> None:
        """The last line: how many jobs ended how; with jobs that did not, what to do."""
        states = {**counts, "not started": waiting}
        self.say(f"{self._title}: " + ", ".join(f"{n} {state}" for state, n in states.items() if n))
        if waiting or counts.get("interrupted"):
            self.say("the same command goes on where this stopped")

    def show(self, counts: Mapping[str, int], running: Sequence[Row], waiting: int, seconds: Sequence[float]) -> None:
        """Redraw, where it is time. seconds: what the jobs that this sweep has run took."""
        now = time.monotonic()
        if self._live is None or (running and now - self._drawn < self._refresh_s):
            return
        self._drawn = now
        shares = [share_done(row.job) for row in running]
        left = seconds_left(shares, [row.seconds for row in running], waiting, seconds, self._slots)
        states = {"finished": 0, **counts, "running": len(running), "waiting": waiting}
        line = Text.assemble(f"{self._title}  ", *((f"{n} {s}  ", _STYLES.get(s, "")) for s, n in states.items() if n))
        line.append("" if left is None else f"about {clock(left)} left", style="bold")
        done = sum(counts.values()) + sum(share or 0.0 for share in shares)
        table = Table.grid(padding=(0, 2))
        for row, share in zip(running, shares, strict=True):
            percent = "starting" if share is None else f"{share:.0%}"
            table.add_row(f"  #{row.job.number}", row.job.folder.name, row.place, percent, clock(row.seconds))
        bar = ProgressBar(total=self._num_jobs, completed=done, width=60)
        self._live.update(Group(line, bar, table), refresh=True)


def end_of(traceback: str, error: str) -> list[str]:
    """Its last frames, from the beginning of one on, without the error itself; of a refusal just the place."""
    lines = [line for line in traceback.rstrip().splitlines() if not set(line) <= {" ", "^", "~"}]
    said = bool(lines) and lines[-1].endswith(error)
    door = said and lines[-1] != error  # "ValueError: run.x is 0; ..." where the error is what stands behind the colon
    lines = lines[:-1][-(_DOOR if door else _TRACEBACK) :] if said else lines[-_TRACEBACK:]
    first = next((n for n, line in enumerate(lines) if line.lstrip().startswith("File ")), 0)
    return lines[first:]


def share_done(job: Job) -> float | None:
    """Share of the token budget that the job has spent, [0, 1]; None before its first record."""
    tokens = _last_tokens(job.folder / "metrics.jsonl")
    return None if tokens is None else min(1.0, tokens / int(job.cfg.run.token_budget))


def seconds_left(
    shares: Sequence[float | None], spent: Sequence[float], waiting: int, seconds: Sequence[float], slots: int
) -> float | None:
    """(waiting + shares of running jobs that are left) x seconds a job / slots; None where nothing is known of a job.

    A job takes the mean of those that ran, before the first of them what running ones look like.
    Example: 4 waiting, one half-done, 10 s a job, 1 slot -> 45 s.
    """
    whole = list(seconds) or [s / share for s, share in zip(spent, shares, strict=True) if share and share > 0.05]
    if not whole or not (waiting or shares):
        return None
    each = sum(whole) / len(whole)
    work = (waiting + sum(1.0 - (share or 0.0) for share in shares)) * each
    longest = max((1.0 - (share or 0.0) for share in shares), default=0.0) * each
    return max(work / slots, longest)


def clock(seconds: float) -> str:
    """90 -> 0:01:30."""
    return str(timedelta(seconds=round(seconds)))


def _last_tokens(path: Path) -> float | None:
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        lines = file.read().split(b"\n")
    for line in reversed(lines):
        try:
            return float(json_of(line)["progress/sampled_tokens"])
        except (ValueError, KeyError, TypeError, OverflowError):
            continue
    return None
