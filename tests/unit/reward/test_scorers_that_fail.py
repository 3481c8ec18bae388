"""What a scorer may do instead of scoring: hang, answer in words, raise. Its group is left out, the log says why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rrl.deadline import TimeLimit, watched, within
from rrl.protocols import Outcome
from rrl.reward.task import BadOutcome, TaskReward, checked
from rrl.types import Start
from tests.unit.learner.tabular import problem, rollouts_of

BARE, OTHER = Start(problem=problem("a")), Start(problem=problem("b"))


def sleeps() -> Outcome:
    time.sleep(60)
    return Outcome(1.0, True)


def computes() -> Outcome:
    while True:
        math.sqrt(2.0)


def catches_everything() -> Outcome:
    while True:
        with contextlib.suppress(Exception):  # as verifiers do
            time.sleep(60)


def catches_the_limit_once() -> Outcome:
    with contextlib.suppress(BaseException):  # as a bare except does
        time.sleep(60)
    time.sleep(60)
    return Outcome(1.0, True)


def matches_slowly() -> Outcome:
    return Outcome(1.0, re.match("(a+)+$", "a" * 40 + "b") is None)


def raises() -> Outcome:
    raise RuntimeError("the service is down")


def raising(error: BaseException) -> Callable[[], Outcome]:
    def raises_it() -> Outcome:
        raise error

    return raises_it


BAD = {
    "text for a number": Outcome("1.0", True),  # type: ignore[arg-type]
    "text": "right",
    "two letters": "ok",
    "nothing": None,
    "a number alone": 1.0,
    "NaN": Outcome(math.nan, False),
    "infinity": Outcome(-math.inf, False),
    "more than a float32 holds": Outcome(1e300, True),
    "more than a float holds": Outcome(10**400, True),
    "more than the task gives": Outcome(1.5, True),
    "less than the task gives": Outcome(-0.001, False),
    "a complex number": Outcome(1j, True),  # type: ignore[arg-type]
    "a tensor for solved": Outcome(1.0, torch.tensor(True)),  # type: ignore[arg-type]
    "text for solved": Outcome(1.0, "yes"),  # type: ignore[arg-type]
    "a number for solved": Outcome(1.0, 1),  # type: ignore[arg-type]
    "three things": (1.0, True, 3),
}
HANGS = {"sleeps": sleeps, "computes": computes, "catches everything": catches_everything,
         "catches the limit once": catches_the_limit_once, "matches slowly": matches_slowly}  # fmt: skip


class Scorer:
    """Gives ``outcome`` (or calls it) for problem a, and full marks for any other."""

    score_range = (0.0, 1.0)

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def score(self, problem: Any, response: Any) -> Any:
        if problem.id != "a":
            return Outcome(1.0, True)
        return self._outcome() if callable(self._outcome) else self._outcome


def scores(outcome: Any, caplog: pytest.LogCaptureFixture, timeout_s: float = 0.05) -> list[str]:
    """The log after rows of a, b, a were scored; the group of a is left out."""
    reward = TaskReward(task=Scorer(outcome), timeout_s=timeout_s)  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        scored = reward.score(rollouts_of([(BARE, (1,)), (OTHER, (2, 2)), (BARE, (3,))]))
    assert scored.score.tolist() == [1.0] and scored.rollouts.sequences.start_of(0) == OTHER
    assert reward.dropped == 2
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("name", HANGS)
def test_a_scorer_that_hangs_is_left_at_its_time_limit(name: str, caplog: pytest.LogCaptureFixture) -> None:
    begin = time.monotonic()
    said = scores(HANGS[name], caplog)
    assert time.monotonic() - begin < 5.0
    assert said == ["scoring a response to 'a' failed (no answer within 0.05 s); its group is left out"] * 2


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_verdict_is_shown_and_left_out(name: str, caplog: pytest.LogCaptureFixture) -> None:
    said = scores(BAD[name], caplog, timeout_s=math.inf)
    assert len(said) == 2 and str(BAD[name])[:20] in said[0] and "expected Outcome(" in said[0]
    with pytest.raises(BadOutcome):
        checked(BAD[name], (0.0, 1.0))


def test_a_scorer_that_raises_is_logged_with_its_traceback_the_first_time(caplog: pytest.LogCaptureFixture) -> None:
    said = scores(raises, caplog)
    assert said == ["scoring a response to 'a' failed (RuntimeError: the service is down); its group is left out"] * 2
    assert caplog.text.count("Traceback") == 1  # a run of many steps would fill the disk with them


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), asyncio.CancelledError("x" * 9999)], ids=type)
def test_a_scorer_does_not_end_the_run(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    said = scores(raising(error), caplog)
    assert type(error).__name__ in said[0] and len(said[0]) < 400


def test_a_person_does(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyboardInterrupt):
        scores(raising(KeyboardInterrupt()), caplog)


@pytest.mark.parametrize("ends", ["returns", "raises"])
def test_a_process_that_a_scorer_forks_and_forgets_ends_there(ends: str, caplog: pytest.LogCaptureFixture) -> None:
    me, children = os.getpid(), list[int]()

    def forks() -> Outcome:
        if child := os.fork():
            children.append(child)
        elif ends == "raises":
            raise SystemExit(0)
        return Outcome(1.0, True)

    reward = TaskReward(task=Scorer(forks), timeout_s=10.0)  # type: ignore[arg-type]
    scored = reward.score(rollouts_of([(BARE, (1,))]))
    if os.getpid() != me:
        os._exit(0)  # where the guard is gone; the test must not go on twice
    assert scored.score.tolist() == [1.0]
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 1


def test_numbers_of_numpy_and_bounds_missed_by_rounding_are_numbers() -> None:
    plain = checked(Outcome(np.float32(0.5), np.bool_(True)), (0.0, 1.0))  # type: ignore[arg-type]
    assert plain == (0.5, True) and type(plain.score) is float and type(plain.solved) is bool
    assert checked((1, False), (0.0, 1.0)) == Outcome(1.0, False)
    assert checked((1.0 + 1e-7, True), (0.0, 1.0)).solved and checked((-4.0, False), (-4.0, 4.0)).score == -4.0


def test_a_limit_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match=r"reward.timeout_s is 0.0; expected > 0 \(.inf = no limit\)"):
        TaskReward(task=Scorer(1.0), timeout_s=0.0)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------ the time limit itself


def test_a_timer_that_was_running_goes_on_and_keeps_its_handler() -> None:
    heard: list[int] = []
    old = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    before = signal.setitimer(signal.ITIMER_REAL, 30.0)
    try:
        with pytest.raises(TimeLimit, match="no answer within 0.01 s"), within(0.01):
            time.sleep(10)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 20.0 < left < 30.0
        signal.raise_signal(signal.SIGALRM)
        assert heard == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)
        signal.signal(signal.SIGALRM, old)


def test_a_limit_that_strikes_as_the_block_ends_strikes_nothing_else() -> None:
    handler, struck = signal.getsignal(signal.SIGALRM), 0
    for number in range(2000):
        try:
            with within(2e-4):
                end = time.perf_counter() + 1.9e-4 + number * 1e-8  # up to 2.1e-4
                while time.perf_counter() < end:
                    pass
        except TimeLimit:
            struck += 1
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0) and signal.getsignal(signal.SIGALRM) is handler
    assert struck


def test_without_a_limit_no_timer_is_touched() -> None:
    with within(math.inf):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with within(10.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 9.0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_thread_that_is_not_the_main_one_is_not_limited() -> None:
    done: list[bool] = []

    def slow() -> None:
        with within(0.01):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=slow)
    thread.start()
    thread.join()
    assert done == [True]


STUCK = """
import itertools, time
from rrl.deadline import watched, within

def compiled():
    return all(itertools.repeat(True))  # no signal handler runs in there

def swallows():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

with watched(0.1, stuck_s=0.1) as wind:
    wind()
    with within(0.1):
        {name}()
"""


@pytest.mark.parametrize("name", ["compiled", "swallows"])
def test_what_cannot_be_left_ends_the_process_and_says_where(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", STUCK.format(name=name)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Timeout" in done.stderr and f"in {name}" in done.stderr


def test_a_watch_that_nobody_overslept_ends_nothing() -> None:
    with watched(0.1, stuck_s=0.1) as wind:
        wind()
    time.sleep(1.5)  # 0.1 + 0.1 + the second that it may be wound late
    with watched(math.inf) as wind:
        wind()
