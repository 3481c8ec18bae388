"""A constant share while the bare prompt's solve rate stands still."""

from __future__ import annotations

from typing import Any

import numpy as np

from rrl.records import Harvest, Plan, Progress


class PlateauTrigger:
    """fraction = rho where a line through the last W fresh solve rates rises by less than ``min_rise``, else 0.

    Rise = (W - 1) sum (i - i0)(r_i - r0) / sum (i - i0)^2, least squares (ours). Off until W steps are known.

    Args:
        rho: replayed share of the starts on a plateau, [0, 1].
        window_steps: W, >= 2 and at most the steps that ``Progress`` remembers.
        min_rise: rise over the window that is no plateau, solve rate.
    """

    def __init__(self, *, rho: float, window_steps: int, min_rise: float) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"replay.schedule.rho is {rho}; expected a number in [0, 1]")
        if window_steps < 2:
            raise ValueError(f"replay.schedule.window_steps is {window_steps}; expected >= 2")
        self._rho, self._window_steps, self._min_rise = rho, window_steps, min_rise

    def plan(self, progress: Progress) -> Plan:
        """Raises ValueError where fewer steps are remembered than the window needs: it would never begin."""
        if self._window_steps > progress.history_len:
            raise ValueError(f"replay.schedule.window_steps is {self._window_steps}; expected at most "
                             f"{progress.history_len}, the steps that are remembered")
        rates = np.array([signals.solve_rate for signals in progress.history[-self._window_steps :]])
        flat = len(rates) == self._window_steps and rise(rates) < self._min_rise
        return Plan(fraction=self._rho if flat else 0.0, eligible_frac=1.0, depth_max=1.0)

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002
        return None


def rise(rates: np.ndarray) -> float:
    """From the first to the last point of the least-squares line. Example: (0, .3, 0, .3) -> slope .06, rise .18."""
    place = np.arange(len(rates)) - (len(rates) - 1) / 2.0
    return float((len(rates) - 1) * (place @ rates) / (place @ place))
