"""What a scorer may do instead of scoring: hang, answer in words, raise. Its group is left out, the log says why."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from rrl.deadline import TimeLimit, within
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


def raises() -> Outcome:
    raise RuntimeError("the service is down")


BAD = {
    "text for a number": Outcome("1.0", True),  # type: ignore[arg-type]
    "text": "right",
    "two letters": "ok",
    "nothing": None,
    "a number alone": 1.0,
    "NaN": Outcome(math.nan, False),
    "infinity": Outcome(-math.inf, False),
    "text for solved": Outcome(1.0, "yes"),  # type: ignore[arg-type]
    "a number for solved": Outcome(1.0, 1),  # type: ignore[arg-type]
    "three things": (1.0, True, 3),
}
HANGS = {"sleeps": sleeps, "computes": computes, "catches everything": catches_everything}


class Scorer:
    """Gives ``outcome`` (or calls it) for problem a, and full marks for any other."""

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
        checked(BAD[name])


def test_a_scorer_that_raises_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert scores(raises, caplog) == ["scoring a response to 'a' failed; its group is left out"] * 2
    assert "the service is down" in caplog.text


def test_numbers_of_numpy_are_numbers() -> None:
    plain = checked(Outcome(np.float32(0.5), np.bool_(True)))  # type: ignore[arg-type]
    assert plain == (0.5, True) and type(plain.score) is float and type(plain.solved) is bool
    assert checked((1, False)) == Outcome(1.0, False)


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
