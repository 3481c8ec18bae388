"""More replay as training proceeds, as exploration weakens, and while the solve rate stands still."""

from __future__ import annotations

from typing import Any

import numpy as np

from rrl.records import Harvest, Plan, Progress


class Dynamic:
    """rho_max clip(w_g ramp(g) + w_e (1 - E) + w_p plateau, 0, 1), and 0 at the end of the run.

    g = share of the token budget used, ramp = min(1, g / ramp_end), E = exploration degree, plateau = 1 where
    the fresh solve rate rose by less than ``plateau_rise`` over ``plateau_steps``. The eligible share of the store
    is k_min + (1 - k_min)(1 - E); the depth limit moves from depth_first to depth_last with g (later restarts
    nearer to the prompt).

    Args:
        rho_max: largest replayed share, [0, 1].
        w_progress, w_explore, w_plateau: weights of the three signals, >= 0.
        ramp_end: share of the budget at which the ramp is full, (0, 1].
        plateau_steps: steps over which a rise is looked for; plateau_smooth: steps averaged at both ends.
        plateau_rise: rise of the solve rate that is no plateau.
        eligible_min: k_min, share of a problem's states that may be drawn at full exploration, [0, 1].
        depth_first, depth_last: largest t / T of a replayed state at the first and last token, [0, 1].
        off_from: share of the budget from which nothing is replayed, [0, 1].
    """

    def __init__(
        self, *, rho_max: float, w_progress: float, w_explore: float, w_plateau: float, ramp_end: float,
        plateau_steps: int, plateau_smooth: int, plateau_rise: float, eligible_min: float, depth_first: float,
        depth_last: float, off_from: float,
    ) -> None:
        shares = {"rho_max": rho_max, "eligible_min": eligible_min, "depth_first": depth_first,
                  "depth_last": depth_last, "off_from": off_from, "ramp_end": ramp_end}
        for name, share in shares.items():
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"replay.schedule.{name} is {share}; expected a number in [0, 1]")
        if ramp_end == 0.0 or min(w_progress, w_explore, w_plateau) < 0.0:
            raise ValueError(f"replay.schedule.ramp_end is {ramp_end}, w_progress {w_progress}, w_explore {w_explore}, "
                             f"w_plateau {w_plateau}; expected ramp_end > 0 and weights >= 0")
        if min(plateau_steps, plateau_smooth) < 1:
            raise ValueError(f"replay.schedule.plateau_steps is {plateau_steps} and plateau_smooth {plateau_smooth}; "
                             "expected >= 1")
        self._rho_max, self._weights, self._ramp_end = rho_max, (w_progress, w_explore, w_plateau), ramp_end
        self._plateau_steps, self._plateau_smooth, self._plateau_rise = plateau_steps, plateau_smooth, plateau_rise
        self._eligible_min, self._depth, self._off_from = eligible_min, (depth_first, depth_last), off_from

    def plan(self, progress: Progress) -> Plan:
        done, lost = progress.done_frac, 1.0 - progress.exploration
        signals = (min(1.0, done / self._ramp_end), lost, float(self._plateau(progress)))
        drive = sum(w * s for w, s in zip(self._weights, signals, strict=True))
        first, last = self._depth
        return Plan(
            fraction=0.0 if done >= self._off_from else self._rho_max * min(1.0, drive),
            eligible_frac=self._eligible_min + (1.0 - self._eligible_min) * lost,
            depth_max=first + (last - first) * done,
        )

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002
        return None

    def _plateau(self, progress: Progress) -> bool:
        """Whether both windows are known and the later mean is less than ``plateau_rise`` above the earlier one."""
        rates = [signals.solve_rate for signals in progress.history]
        if len(rates) < self._plateau_steps + self._plateau_smooth:
            return False
        end = len(rates) - self._plateau_steps
        then = float(np.mean(rates[end - self._plateau_smooth : end]))
        return float(np.mean(rates[-self._plateau_smooth :])) - then < self._plateau_rise
