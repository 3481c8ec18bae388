"""A time limit on somebody else's function, in this process."""

from __future__ import annotations

import faulthandler
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_AGAIN_S = 1.0  # a function that swallowed the limit hears of it again
_STUCK_S = 60.0  # behind the limit: what has not let go by then never does
_FRESH_S = 1.0  # a watch wound so lately need not be wound again, which costs a thread


class TimeLimit(BaseException):
    """The limit has passed. Not an Exception: a function that hangs often catches those, and would go on."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeLimit in the block once ``seconds`` have passed (math.inf = never), and once a second from then on.

    By SIGALRM: Python code, sleeping and waiting are interrupted, regular expressions and long integers too; another
    loop in compiled code is not before it returns, which is why symbolic verifiers run in a process of their own, and
    what ``watched`` is for. Signals reach the main thread only: elsewhere nothing is limited. A timer that was set
    before (a test's) goes on.
    """
    if math.isinf(seconds) or threading.current_thread() is not threading.main_thread():
        yield
        return

    over = False

    def stop(*_: object) -> None:
        if not over:
            raise TimeLimit(f"no answer within {seconds:g} s")

    begin, left = time.monotonic(), signal.getitimer(signal.ITIMER_REAL)[0]
    handler = signal.signal(signal.SIGALRM, stop)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
            yield
        finally:  # the limit may strike here, and once more it would where nobody expects it: so there are two of these
            over = True
    finally:
        over = True
        # Never 0 for one that was running: that would cancel it.
        signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begin), 1e-3) if left else 0.0)
        signal.signal(signal.SIGALRM, handler)


@contextmanager
def watched(seconds: float, *, stuck_s: float = _STUCK_S) -> Iterator[Callable[[], None]]:
    """A watch over blocks that ``within(seconds)`` limits; call what it gives before each of them.

    A block that is not left ``stuck_s`` behind its limit swallows it, or loops in compiled code. Nothing in this
    process can end that: the process ends, exit code 1, with the place on standard error, so that nobody waits for it.
    Main thread only, as ``within``; math.inf watches nothing.
    """
    wound = -math.inf

    def wind() -> None:
        nonlocal wound
        now = time.monotonic()
        if now - wound >= _FRESH_S:
            # By a thread of the C library: it needs no lock that a loop in compiled code may hold. Descriptor 2:
            # sys.stderr may be a display, or closed.
            faulthandler.dump_traceback_later(seconds + stuck_s + _FRESH_S, exit=True, file=2)
            wound = now

    if math.isinf(seconds) or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    try:
        yield wind
    finally:
        faulthandler.cancel_dump_traceback_later()
