"""Seconds by phase of one step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rrl.types import Metrics


class Clock:
    """Adds up wall-clock seconds of named phases until ``lap`` reads and clears them."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._lap_start = self._last = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] = self._spent.get(name, 0.0) + time.perf_counter() - begin

    def since_last(self) -> float:
        """Seconds since the last call; evaluating and saving after a step count in the next one."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last

    def lap(self, tokens: int, total_s: float) -> Metrics:
        """``time/<phase>_s`` since the last lap, the whole as ``time/step_s``, tokens a second, and the run's total."""
        now = time.perf_counter()
        whole, self._lap_start = now - self._lap_start, now
        spent, self._spent = self._spent, {}
        return {f"time/{k}_s": v for k, v in spent.items()} | {
            "time/step_s": whole,
            "time/tokens_per_s": tokens / whole,
            "time/total_s": total_s,
        }
