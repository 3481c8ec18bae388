"""No whole-answer replay: rollouts pass through untouched."""

from __future__ import annotations

from rrl.types import Rollouts


class NoRecall:
    """Appends nothing."""

    def recall(self, rollouts: Rollouts) -> Rollouts:
        """The very object that was given."""
        return rollouts
