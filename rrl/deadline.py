"""A time limit on somebody else's function, in this process."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class TimeLimit(BaseException):
    """The limit has passed. Not an Exception: a function that hangs often catches those, and would go on."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeLimit in the block once ``seconds`` have passed (math.inf = never).

    By SIGALRM: Python code, sleeping and waiting are interrupted; a loop in compiled code is not before it returns,
    which is why symbolic verifiers run in a process of their own. Signals reach the main thread only: elsewhere nothing
    is limited. A timer that was set before (a test's) goes on.
    """
    if math.isinf(seconds) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeLimit(f"no answer within {seconds:g} s")

    begin, handler = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        # Never 0 for one that was running: that would cancel it.
        signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begin), 1e-3) if left else 0.0)
        signal.signal(signal.SIGALRM, handler)
