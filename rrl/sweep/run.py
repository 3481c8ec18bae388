"""Run the jobs of a sweep in a pool: skip what is finished, resume what was stopped, go on where one crashes."""

from __future__ import annotations

import math
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rrl.sweep import record
from rrl.sweep.jobs import Job
from rrl.sweep.pool import LOG, Handle, Pool
from rrl.sweep.view import Row, View

_POLL_S = 0.1  # between looks at the processes; short beside any job
_TAIL = 12  # lines of a log that are quoted where a process died without a word
_DIED = {signal.SIGKILL: " (out of memory?)"}  # what a signal that nobody sent on purpose may mean


class Ended(NamedTuple):
    """What became of a job: state is skipped, finished, failed, interrupted or elsewhere (another process has it)."""

    state: str
    value: float


class _Running(NamedTuple):
    job: Job
    handle: Handle
    since: float


def run_jobs(jobs: Sequence[Job], pool: Pool, view: View) -> dict[int, Ended]:
    """Run them all; what became of each, by number.

    Raises:
      ValueError: a job's folder holds another one's result; nothing has been started then.
      SystemExit: 130 after Ctrl-C or SIGTERM, when the jobs that ran have saved and stopped.
    """
    plans = planned(jobs)
    waiting, running, seconds = deque(job for job in jobs if plans[job.number].verb != "skip"), list[_Running](), list[float]()
    with _asked_to_stop() as asked, view:
        ended = {job.number: _skip(job, plans[job.number], view) for job in jobs if plans[job.number].verb == "skip"}
        told = 0
        while waiting or running:
            while waiting and not asked and pool.has_room():
                _start(waiting.popleft(), pool, view, running, ended)
            if told < len(asked):
                told = len(asked)
                view.say(f"stopping {len(running)} running jobs; they save first" if told == 1 else "stopping at once")
                for one in running:
                    one.handle.stop()
            for one in list(running):
                code = one.handle.poll()
                if code is not None:
                    running.remove(one)
                    ended[one.job.number] = _finish(one, code, bool(asked), view)
                    seconds.append(time.monotonic() - one.since)
            if asked and not running:
                break
            view.show(Counter(e.state for e in ended.values()), _rows(running), len(waiting), seconds)
            time.sleep(_POLL_S)
        view.show(Counter(e.state for e in ended.values()), [], len(waiting), seconds)
        view.close(Counter(e.state for e in ended.values()), len(waiting))
    if asked:
        raise SystemExit(130)
    return ended


def planned(jobs: Sequence[Job]) -> dict[int, record.Plan]:
    """What is to be done with each job. Raises ValueError where a job's folder holds the result of another config."""
    plans, refused = {}, []
    for job in jobs:
        try:
            plans[job.number] = record.plan(job.folder, job.cfg)
        except ValueError as error:
            refused.append(str(error))
    if refused:
        more = f" ({len(refused)} of {len(jobs)} jobs are such)" if len(refused) > 1 else ""
        raise ValueError(f"nothing was started: {refused[0]}{more}")
    return plans


def _skip(job: Job, plan: record.Plan, view: View) -> Ended:
    view.event(job, "skipped", plan.why)
    return Ended("skipped", math.nan if plan.value is None else plan.value)


def _start(job: Job, pool: Pool, view: View, running: list[_Running], ended: dict[int, Ended]) -> None:
    """Start it, unless another terminal runs it or has finished it meanwhile."""
    if record.is_taken(job.folder):
        view.event(job, "elsewhere", "another process runs it")
        ended[job.number] = Ended("elsewhere", math.nan)
        return
    plan = record.plan(job.folder, job.cfg)
    if plan.verb == "skip":
        ended[job.number] = _skip(job, plan, view)
        return
    handle = pool.start(job)
    running.append(_Running(job, handle, time.monotonic()))
    view.event(job, "started", ", ".join(filter(None, (plan.verb, plan.why, handle.place))))


def _finish(one: _Running, code: int, asked: bool, view: View) -> Ended:
    """Read the job's record, or write it where its process could not."""
    job, done = one.job, record.read_done(one.job.folder)
    if code == record.TAKEN:
        view.event(job, "elsewhere", "another process runs it")
        return Ended("elsewhere", math.nan)
    if not done and asked:
        done = {"status": "interrupted", "value": None, "error": "stopped before its first checkpoint"}
    elif not done or (code != 0 and done["status"] == "finished"):
        log = job.folder / LOG
        done = {
            "status": "failed", "value": None, "error": f"its process {_cause(code)}", "traceback": _tail(log),
            "fingerprint": record.fingerprint(job.cfg),
        }  # fmt: skip
        record.end(job.folder, done)
    if done["status"] == "failed":
        view.failure(job, done["error"], done["traceback"])
    else:
        view.event(job, done["status"], f"{time.monotonic() - one.since:.0f} s")
    return Ended(done["status"], math.nan if done["value"] is None else done["value"])


def _cause(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} and without a record"
    number = signal.Signals(-code)
    return f"was killed by {number.name}{_DIED.get(number, '')}"


def _tail(log: Path) -> str:
    """The end of what the process printed."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL:]) if log.is_file() else ""


def _rows(running: Sequence[_Running]) -> list[Row]:
    now = time.monotonic()
    return [Row(one.job, one.handle.place, now - one.since) for one in running]


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """A list that every Ctrl-C and SIGTERM adds itself to."""
    asked: list[int] = []
    old = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
