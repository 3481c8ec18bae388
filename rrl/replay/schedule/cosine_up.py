"""Half a cosine upwards: slow at both ends, steepest in the middle."""

from __future__ import annotations

import math
from typing import Any

from rrl.records import Harvest, Plan, Progress


class CosineUp:
    """fraction = rho_max (1 - cos(pi g)) / 2, g = share of the token budget used.

    Args:
        rho_max: largest replayed share of the starts, [0, 1].
    """

    def __init__(self, *, rho_max: float) -> None:
        if not 0.0 <= rho_max <= 1.0:
            raise ValueError(f"replay.schedule.rho_max is {rho_max}; expected a number in [0, 1]")
        self._rho_max = rho_max

    def plan(self, progress: Progress) -> Plan:
        share = (1.0 - math.cos(math.pi * progress.done_frac)) / 2.0
        return Plan(fraction=self._rho_max * share, eligible_frac=1.0, depth_max=1.0)

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002
        return None
