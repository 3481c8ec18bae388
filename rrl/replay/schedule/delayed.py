"""A constant share, from the step on at which the bare prompt is solved often enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from rrl.records import Harvest, Plan, Progress


class Delayed:
    """fraction = rho once the mean fresh solve rate reached ``solve_rate`` or done_frac reached ``latest``; 0 before.

    An early critic misjudges states, so replay waits for a policy that gives it something to learn from (as ExGRPO,
    arXiv 2510.02245, delays its replay). Once begun it never stops.

    Args:
        rho: replayed share of the starts, [0, 1].
        solve_rate: fresh solve rate that begins it, [0, 1].
        smooth_steps: last steps that the rate is averaged over, >= 1; before that many no rate begins anything.
        latest: share of the token budget at which it begins in any case, [0, 1].
    """

    def __init__(self, *, rho: float, solve_rate: float, smooth_steps: int, latest: float) -> None:
        for name, share in {"rho": rho, "solve_rate": solve_rate, "latest": latest}.items():
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"replay.schedule.{name} is {share}; expected a number in [0, 1]")
        if smooth_steps < 1:
            raise ValueError(f"replay.schedule.smooth_steps is {smooth_steps}; expected >= 1")
        self._rho, self._solve_rate, self._smooth_steps, self._latest = rho, solve_rate, smooth_steps, latest
        self._begun = False

    def plan(self, progress: Progress) -> Plan:
        return Plan(fraction=self._rho if self._on(progress) else 0.0, eligible_frac=1.0, depth_max=1.0)

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        self._begun = self._on(progress)

    def state_dict(self) -> dict[str, Any]:
        return {"begun": self._begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._begun = bool(state["begun"])

    def _on(self, progress: Progress) -> bool:
        rates = [signals.solve_rate for signals in progress.history[-self._smooth_steps :]]
        able = len(rates) == self._smooth_steps and float(np.mean(rates)) >= self._solve_rate
        return self._begun or able or progress.done_frac >= self._latest
