"""Jobs in processes of their own: how many at a time, where, what a crash costs, what a rerun repeats, how it stops."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rrl.sweep import record
from rrl.sweep.jobs import Job
from rrl.sweep.pool import Processes
from rrl.sweep.run import run_jobs
from tests.unit.sweep.fakes import config, job, view_of

SLEEP = "time.sleep(0.3); end('finished', 0.5)"
TRAPPED = """
def stopped(*_):
    end("interrupted"); sys.exit(130)
signal.signal(signal.SIGTERM, stopped); note("ready"); time.sleep(30)
"""


def ran(jobs: Sequence[Job], *, n_jobs: int = 2, gpus: Sequence[str] = ()) -> tuple[dict[int, Any], str]:
    view, out = view_of(jobs)
    return run_jobs(jobs, Processes(n_jobs=n_jobs, gpus=gpus), view), out.getvalue()


def started(job: Job) -> list[dict[str, Any]]:
    return [event for event in record.events(job.folder) if event["event"] == "started"]


def test_a_rerun_skips_what_is_finished_and_hands_on_its_value(tmp_path: Path) -> None:
    jobs = [job(tmp_path, n, f"end('finished', {n / 10})") for n in range(3)]
    first, _ = ran(jobs)
    again, said = ran(jobs)
    assert [first[n].state for n in range(3)] == ["finished"] * 3
    assert [again[n] for n in range(3)] == [("skipped", 0.0), ("skipped", 0.1), ("skipped", 0.2)]
    assert [len(started(j)) for j in jobs] == [1, 1, 1]
    assert "sweep: 3 skipped" in said


def test_a_crash_costs_one_job_says_why_and_is_all_that_a_rerun_runs(tmp_path: Path) -> None:
    crash = "print('before'); raise RuntimeError('no such luck')"
    jobs = [job(tmp_path, 0), job(tmp_path, 1, crash), job(tmp_path, 2)]
    ended, said = ran(jobs)
    assert [ended[n].state for n in range(3)] == ["finished", "failed", "finished"] and math.isnan(ended[1].value)
    done = record.read_done(jobs[1].folder)
    assert done["status"] == "failed" and done["error"] == "its process ended with exit code 1 and without a record"
    assert "before" in done["traceback"] and done["traceback"].endswith("RuntimeError: no such luck")
    assert "job_1 failed: seed=1" in said and "RuntimeError: no such luck" in said and "job_1/done.json" in said

    mended = [jobs[0], job(tmp_path, 1), jobs[2]]
    ended, _ = ran(mended)
    assert [ended[n].state for n in range(3)] == ["skipped", "finished", "skipped"]
    assert [len(started(j)) for j in mended] == [1, 2, 1]


def test_a_killed_job_has_a_record_too(tmp_path: Path) -> None:
    killed = job(tmp_path, 0, "os.kill(os.getpid(), signal.SIGKILL)")
    _, said = ran([killed])
    assert record.read_done(killed.folder)["error"] == "its process was killed by SIGKILL (out of memory?)"
    assert "killed by SIGKILL" in said


def test_nothing_starts_where_a_folder_holds_the_result_of_another_config(tmp_path: Path) -> None:
    ran([job(tmp_path, 0)])
    changed = job(tmp_path, 0, cfg=config(seed=0, learner__lr=0.2))
    new = job(tmp_path, 1)
    with pytest.raises(ValueError, match=r"nothing was started: .*job_0 holds a job \(finished\) with another config"):
        ran([changed, new])
    assert not new.folder.exists() and len(started(changed)) == 1


def test_a_job_that_another_terminal_runs_is_left_to_it(tmp_path: Path) -> None:
    jobs = [job(tmp_path, 0), job(tmp_path, 1)]
    with record.claimed(jobs[0].folder):
        ended, said = ran(jobs)
    assert [ended[n].state for n in range(2)] == ["elsewhere", "finished"]
    assert not started(jobs[0]) and "another process runs it" in said


def overlaps(jobs: Sequence[Job]) -> list[tuple[int, int]]:
    """Pairs of jobs that ran at the same time."""
    spans = {j.number: [event["time"] for event in record.events(j.folder)] for j in jobs}
    return [(a, b) for a in spans for b in spans if a < b and max(spans[a][0], spans[b][0]) < min(spans[a][-1],
                                                                                              spans[b][-1])]


def test_n_jobs_run_at_a_time_and_no_more(tmp_path: Path) -> None:
    one = [job(tmp_path / "one", n, SLEEP) for n in range(3)]
    ran(one, n_jobs=1)
    assert overlaps(one) == []
    two = [job(tmp_path / "two", n, SLEEP) for n in range(4)]
    ran(two, n_jobs=2)
    pairs = overlaps(two)
    assert pairs and not any({(a, b), (b, c), (a, c)} <= set(pairs) for a, b, c in
                             ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)))


def test_each_gpu_has_one_job_at_a_time(tmp_path: Path) -> None:
    jobs = [job(tmp_path, n, SLEEP) for n in range(4)]
    ran(jobs, gpus=("3", "5"))
    device = {j.number: started(j)[0]["gpu"] for j in jobs}
    assert sorted(device.values()) == ["3", "3", "5", "5"]
    pairs = overlaps(jobs)
    assert pairs and all(device[a] != device[b] for a, b in pairs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_jobs_lets_them_save_and_starts_no_other(tmp_path: Path, number: signal.Signals) -> None:
    jobs = [job(tmp_path, 0, TRAPPED), job(tmp_path, 1)]

    def once_ready() -> None:
        while not any(event["event"] == "ready" for event in record.events(jobs[0].folder)):
            pass
        os.kill(os.getpid(), number)

    old = signal.getsignal(number)
    view, out = view_of(jobs)
    teller = threading.Thread(target=once_ready)
    teller.start()
    with pytest.raises(SystemExit) as stop:
        run_jobs(jobs, Processes(n_jobs=1, gpus=()), view)
    teller.join()
    assert stop.value.code == 130 and signal.getsignal(number) == old
    assert record.read_done(jobs[0].folder)["status"] == "interrupted" and not jobs[1].folder.exists()
    assert "sweep: 1 interrupted, 1 not started" in out.getvalue()
    assert "the same command goes on where this stopped" in out.getvalue()


def test_a_process_that_finds_its_job_taken_says_so_by_its_exit_code(tmp_path: Path) -> None:
    taken = job(tmp_path, 0)._replace(command=("sh", "-c", f"exit {record.TAKEN}"))
    ended, _ = ran([taken])
    assert ended[0].state == "elsewhere" and not (taken.folder / "done.json").exists()


def test_a_process_that_dies_before_it_begins_is_not_judged_by_an_earlier_attempt(tmp_path: Path) -> None:
    ran([job(tmp_path, 0, "end('interrupted', 0.5)")])
    broken = job(tmp_path, 0)._replace(command=("sh", "-c", "echo no such module; exit 7"))
    ended, _ = ran([broken])
    done = record.read_done(broken.folder)
    assert ended[0].state == done["status"] == "failed" and done["traceback"] == "no such module"
    assert done["error"] == "its process ended with exit code 7 and without a record"


def test_a_finished_job_stays_finished_whatever_its_process_does_on_its_way_out(tmp_path: Path) -> None:
    ended, _ = ran([job(tmp_path, 0, "end('finished', 0.5); sys.exit(3)")])
    assert ended[0] == ("finished", 0.5)


@pytest.mark.parametrize(("given", "words"), [
    ({"n_jobs": 0, "gpus": ()}, "hydra.launcher.n_jobs is 0; expected >= 1"),
    ({"n_jobs": 1, "gpus": ("0", "0")}, "hydra.launcher.gpus is ['0', '0']; expected each device once"),
])  # fmt: skip
def test_impossible_slots_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as error:
        Processes(**given)
    assert str(error.value) == words


def test_what_a_job_prints_is_kept_in_its_folder(tmp_path: Path) -> None:
    one = job(tmp_path, 0, "print('hello'); end('finished', 1.0)")
    ran([one])
    assert (one.folder / "stdout.log").read_text() == "hello\n"
    assert json.loads((one.folder / "done.json").read_text())["value"] == 1.0


def test_a_job_that_its_own_process_refuses_leaves_the_result_that_stands_there(tmp_path: Path) -> None:
    one = job(tmp_path, 0, "end('finished', 0.5)")
    one.folder.mkdir()
    words = "note('refused', error='another config'); (folder / 'done.json').write_text('{\"status\": \"finished\"}')"
    body = one.command[2].split("(folder / \"done.json\").unlink")[0] + words + "; sys.exit(1)"
    ended, said = ran([one._replace(command=(*one.command[:2], body))])
    assert ended[0].state == "failed" and "another config" in said
    assert record.read_done(one.folder) == {"status": "finished"}


CANCELLED = """
import _thread, os, signal, sys, threading, time
from rrl.sweep.pool import work
signal.signal(signal.SIGINT, signal.SIG_IGN)
def cancel():
    while not os.path.exists("ready"):
        time.sleep(0.02)
    _thread.interrupt_main()
threading.Thread(target=cancel, daemon=True).start()
job = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7)); open('ready', 'w'); time.sleep(20)"
sys.exit(work([sys.executable, "-c", job], "job", "", "."))
"""


def test_a_cancelled_task_reaches_its_job_where_ctrl_c_is_ignored_too(tmp_path: Path) -> None:
    """Ray cancels by ``interrupt_main``, which does nothing to a process that began ignoring SIGINT, as behind &."""
    assert subprocess.run([sys.executable, "-c", CANCELLED], cwd=tmp_path, timeout=30, check=False).returncode == 7
