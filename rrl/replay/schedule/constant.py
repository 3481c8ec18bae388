"""The same replayed share from the first step to the last."""

from __future__ import annotations

from typing import Any

from rrl.records import Harvest, Plan, Progress


class Constant:
    """fraction = rho.

    Args:
        rho: replayed share of the starts, [0, 1].
    """

    def __init__(self, *, rho: float) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"replay.schedule.rho is {rho}; expected a number in [0, 1]")
        self._rho = rho

    def plan(self, progress: Progress) -> Plan:  # noqa: ARG002
        return Plan(fraction=self._rho, eligible_frac=1.0, depth_max=1.0)

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002
        return None
