"""What a person sees of a running sweep: counts, shares, the time that is left, and a crash."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from rrl.sweep.view import Row, clock, end_of, seconds_left, share_done
from tests.unit.sweep.fakes import job, view_of

CRASH = '''Traceback (most recent call last):
  File "a.py", line 1, in f
    g()
    ^^^
  File "b.py", line 2, in g
    return 1 / 0
           ~~^~~
ZeroDivisionError: division by zero
'''
REFUSAL = CRASH.replace("ZeroDivisionError: division by zero", "ValueError: run.x is 0; expected 1")


def test_the_time_left_is_work_over_slots_and_never_less_than_the_longest_job() -> None:
    assert seconds_left([0.5], [5.0], 4, [10.0], 1) == 45.0         # (4 + .5) x 10
    assert seconds_left([0.5, None], [5.0, 1.0], 4, [8.0, 12.0], 2) == 27.5   # (4 + .5 + 1) x 10 / 2
    assert seconds_left([0.0, 0.9], [1.0, 9.0], 0, [10.0], 2) == 10.0   # one of the two has all of its own to go
    assert seconds_left([0.25], [5.0], 0, [], 1) == 15.0            # no job has ended: a quarter took 5 s
    assert seconds_left([0.01], [5.0], 3, [], 1) is None and seconds_left([None], [5.0], 3, [], 1) is None
    assert seconds_left([], [], 0, [10.0], 1) is None               # all is done
    assert clock(3725.4) == "1:02:05"


def test_a_jobs_share_is_read_from_its_last_whole_record(tmp_path: Path) -> None:
    one = job(tmp_path, 0)   # of 100 tokens
    assert share_done(one) is None
    one.folder.mkdir()
    lines = [json.dumps({"progress/sampled_tokens": n}) for n in (10, 30)]
    (one.folder / "metrics.jsonl").write_text("\n".join([*lines, '{"progress/samp']))
    assert share_done(one) == 0.3
    (one.folder / "metrics.jsonl").write_text(json.dumps({"progress/sampled_tokens": 130}) + "\n")
    assert share_done(one) == 1.0


def test_of_a_traceback_the_last_frames_are_shown_and_of_a_refusal_its_place() -> None:
    assert end_of(CRASH, "ZeroDivisionError: division by zero") == [
        '  File "a.py", line 1, in f', "    g()", '  File "b.py", line 2, in g', "    return 1 / 0",
    ]  # fmt: skip
    assert end_of(REFUSAL, "run.x is 0; expected 1") == ['  File "b.py", line 2, in g', "    return 1 / 0"]
    assert end_of("the end of\na log", "its process was killed") == ["the end of", "a log"]
    assert end_of("", "anything") == []


def test_without_a_terminal_each_job_is_a_line_and_an_error_is_told_in_full_once(tmp_path: Path) -> None:
    jobs = [job(tmp_path, n) for n in range(4)]
    view, out = view_of(jobs, slots=2)
    with view:
        view.event(jobs[0], "skipped", "finished before")
        view.event(jobs[1], "started", "start, new")
        view.failure(jobs[1], "run.x is 0; expected 1", REFUSAL)
        view.failure(jobs[2], "run.x is 0; expected 1", REFUSAL)
        view.event(jobs[3], "finished", "12 s")
        view.close(Counter(skipped=1, failed=2, finished=1), 0)
    lines = out.getvalue().splitlines()
    assert lines[0] == "sweep: 4 jobs, 2 at a time" and lines[1] == "[1/4] skipped     job_0 (finished before)"
    assert lines[2] == "[1/4] started     job_1 (start, new)"
    assert "[2/4] job_1 failed: seed=1" in lines[3] and "run.x is 0; expected 1" in lines[4]
    assert lines[-3] == "[3/4] failed      job_2 (as job_1: run.x is 0; expected 1)"
    assert lines[-2:] == ["[4/4] finished    job_3 (12 s)", "sweep: 1 skipped, 2 failed, 1 finished"]
    assert out.getvalue().count('File "b.py"') == 1


def test_in_a_terminal_counts_bar_and_running_jobs_stay_in_place(tmp_path: Path) -> None:
    jobs = [job(tmp_path, n) for n in range(6)]
    jobs[4].folder.mkdir()
    (jobs[4].folder / "metrics.jsonl").write_text(json.dumps({"progress/sampled_tokens": 50}) + "\n")
    view, out = view_of(jobs, terminal=True, slots=2)
    with view:
        rows = [Row(jobs[4], "GPU 0", 5.0), Row(jobs[5], "GPU 1", 2.0)]
        view.show(Counter(finished=1, failed=1, skipped=1), rows, 1, [10.0])
    text = out.getvalue()
    assert "1 finished  1 failed  1 skipped  2 running  1 waiting  about 0:00:12 left" in text   # (1 + .5 + 1) x 10 / 2
    assert "#4  job_4  GPU 0  50%       0:00:05" in text and "#5  job_5  GPU 1  starting  0:00:02" in text
