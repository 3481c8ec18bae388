"""No warm start: the policy goes into RL as it was built or loaded."""

from __future__ import annotations

from rrl.protocols import Policy
from rrl.types import Metrics


class NoWarmStart:
    """Leaves the policy alone; for models that were instruction-tuned elsewhere."""

    def __init__(self) -> None:
        pass

    def prepare(self, policy: Policy) -> Metrics:
        del policy
        return {}
