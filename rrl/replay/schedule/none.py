"""No replay: plain PPO, bit for bit."""

from __future__ import annotations

from typing import Any

from rrl.records import Harvest, Plan, Progress


class NoReplay:
    """fraction 0, always."""

    def __init__(self) -> None:
        return None

    def plan(self, progress: Progress) -> Plan:  # noqa: ARG002
        return Plan(fraction=0.0, eligible_frac=1.0, depth_max=1.0)

    def update(self, progress: Progress, harvest: Harvest) -> None:  # noqa: ARG002
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002
        return None
