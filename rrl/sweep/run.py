"""Run the jobs of a sweep in a pool: skip what is finished, resume what was stopped, go on where one crashes."""

from __future__ import annotations

import math
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from rrl.sweep import record
from rrl.sweep.jobs import Job
from rrl.sweep.pool import LOG, Handle, Pool
from rrl.sweep.view import Row, View

_POLL_S = 0.1  # between looks at the processes; short beside any job
_TAIL = 12  # lines of a log that are quoted where a process died without a word
_STOPS = (
    (signal.SIGTERM, "stopping after this step; once more to stop at once"),
    (signal.SIGINT, "stopping at once; once more to kill"),
    (signal.SIGKILL, "killing"),
)
"""What the first, second and third Ctrl-C or SIGTERM mean for the jobs."""
_DIED = {signal.SIGKILL: " (out of memory?)"}  # what a signal that nobody sent on purpose may mean


class Ended(NamedTuple):
    """What became of a job: state is skipped, finished, failed, interrupted or elsewhere (another process has it)."""

    state: str
    value: float


class _Running(NamedTuple):
    """A job that was started. told: lines that its record had before."""

    job: Job
    handle: Handle
    since: float
    told: int


class Feed(Protocol):
    """What is to be run, one job after the other; a search decides late which."""

    def num_left(self) -> int:
        """Jobs that are still to be handed out."""
        ...

    def next(self) -> Job:
        """The next job; there is one left."""
        ...

    def tell(self, job: Job, ended: Ended) -> None:
        """What became of it."""
        ...


class Queue:
    """Jobs that are all known."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = deque(jobs)
        self.ended: dict[int, Ended] = {}

    def num_left(self) -> int:
        return len(self._jobs)

    def next(self) -> Job:
        return self._jobs.popleft()

    def tell(self, job: Job, ended: Ended) -> None:
        self.ended[job.number] = ended


def run_jobs(jobs: Sequence[Job], pool: Pool, view: View) -> dict[int, Ended]:
    """Run the jobs of a sweep; what became of each, by number.

    Raises:
      ValueError: a job's folder holds another one's result; nothing has been started then.
      SystemExit: 130 after Ctrl-C or SIGTERM, when the jobs that ran have saved and stopped.
    """
    plans = planned(jobs)
    done_first = sorted(jobs, key=lambda job: plans[job.number].verb != "skip")
    queue = Queue(done_first)
    drive(queue, pool, view)
    return queue.ended


def drive(feed: Feed, pool: Pool, view: View) -> None:
    """Keep the pool full until the feed is empty. Raises SystemExit(130) as run_jobs does."""
    running, seconds, counts, told = list[_Running](), list[float](), Counter[str](), 0
    with asked_to_stop() as asked, view:
        while running or feed.num_left():
            while feed.num_left() and not asked and pool.has_room():
                job = feed.next()
                one = _start(job, pool, view)
                if isinstance(one, Ended):
                    counts[one.state] += 1
                    feed.tell(job, one)
                else:
                    running.append(one)
            if told < len(asked):
                told = len(asked)
                number, words = _STOPS[min(told, len(_STOPS)) - 1]
                view.say(f"{words} ({len(running)} running jobs)")
                for one in running:
                    one.handle.stop(number)
            for one in list(running):
                code = one.handle.poll()
                if code is not None:
                    running.remove(one)
                    ended = _finish(one, code, bool(asked), view)
                    counts[ended.state] += 1
                    if ended.state == "finished":  # a crash says nothing about how long jobs take
                        seconds.append(time.monotonic() - one.since)
                    feed.tell(one.job, ended)
            if asked and not running:
                break
            view.show(counts, _rows(running), feed.num_left(), seconds)
            time.sleep(_POLL_S)
        view.show(counts, [], feed.num_left(), seconds)
        view.close(counts, feed.num_left())
    if asked:
        raise SystemExit(130)


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


def _start(job: Job, pool: Pool, view: View) -> _Running | Ended:
    """Start it, unless it is finished or another terminal runs it."""
    if record.is_taken(job.folder):
        view.event(job, "elsewhere", "another process runs it")
        return Ended("elsewhere", math.nan)
    plan = record.plan(job.folder, job.cfg)  # now: another terminal may have finished it meanwhile
    if plan.verb == "skip":
        view.event(job, "skipped", plan.why + _value(plan.value))
        return Ended("skipped", math.nan if plan.value is None else plan.value)
    told, handle = len(record.events(job.folder)), pool.start(job)
    view.event(job, "started", ", ".join(filter(None, (plan.verb, plan.why, handle.place))))
    return _Running(job, handle, time.monotonic(), told)


def _finish(one: _Running, code: int, asked: bool, view: View) -> Ended:
    """Read the job's record, or write it where its process could not."""
    job = one.job
    new = {event["event"]: event for event in record.events(job.folder)[one.told :]}
    done = record.read_done(job.folder) if "started" in new else {}  # else done.json is still an earlier attempt's
    if code == record.TAKEN:
        view.event(job, "elsewhere", "another process runs it")
        return Ended("elsewhere", math.nan)
    if not done and "refused" in new:  # what stands in the folder is another config's, and stays as it is
        view.failure(job, new["refused"]["error"], "")
        return Ended("failed", math.nan)
    if not done and asked:
        done = {"status": "interrupted", "value": None, "error": "stopped before its first checkpoint"}
    elif not done:
        log = job.folder / LOG
        done = {
            "status": "failed", "value": None, "error": f"its process {_cause(code)}", "traceback": _tail(log),
            "fingerprint": record.fingerprint(job.cfg),
        }  # fmt: skip
        record.end(job.folder, done)
    if done["status"] == "failed":
        view.failure(job, done["error"], done["traceback"])
    else:
        view.event(job, done["status"], f"{time.monotonic() - one.since:.0f} s" + _value(done["value"]))
    return Ended(done["status"], math.nan if done["value"] is None else done["value"])


def _value(value: float | None) -> str:
    return "" if value is None else f", hard success {value:.3f}"


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
def asked_to_stop() -> Iterator[list[int]]:
    """A list that every Ctrl-C and SIGTERM adds itself to."""
    asked: list[int] = []
    old = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
