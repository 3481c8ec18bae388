"""A constant share inside a window of the token budget: first the early ideas are lost, then they are revisited."""

from __future__ import annotations

from typing import Any

from rrl.records import Harvest, Plan, Progress


class Window:
    """fraction = rho where first <= done_frac < last, else 0.

    Args:
        rho: replayed share of the starts inside the window, [0, 1].
        first, last: ends of the window, shares of the token budget, 0 <= first <= last <= 1.
    """

    def __init__(self, *, rho: float, first: float, last: float) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"replay.schedule.rho is {rho}; expected a number in [0, 1]")
        if not 0.0 <= first <= last <= 1.0:
            raise ValueError(f"replay.schedule.first is {first} and last {last}; expected 0 <= first <= last <= 1")
        self._rho, self._first, self._last = rho, first, last

    def plan(self, progress: Progress) -> Plan:
        inside = self._first <= progress.done_frac < self._last
        return Plan(fraction=self._rho if inside else 0.0, eligible_frac=1.0, depth_max=1.0)

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002
        return None
