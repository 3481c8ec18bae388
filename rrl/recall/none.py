"""No whole-answer replay: rollouts pass through untouched."""

from __future__ import annotations

from typing import Any

from rrl.records import Progress
from rrl.types import Metrics, Rollouts, Scored, Start


class NoRecall:
    """Remembers nothing and appends nothing."""

    def starts(self, progress: Progress, num_starts: int) -> list[Start]:  # noqa: ARG002  (the door's signature)
        """No start."""
        return []

    def recall(self, rollouts: Rollouts, progress: Progress) -> Rollouts:  # noqa: ARG002
        """The very object that was given."""
        return rollouts

    def remember(self, sampled: Scored, progress: Progress) -> Metrics:  # noqa: ARG002
        """Nothing to measure."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """No state."""
