"""Warns when replay feeds on problems that the bare prompt already solves: many conversions, nothing learned."""

from __future__ import annotations

import logging
from typing import Any

from rrl.replay.observe import HARD_BELOW

_LOG = logging.getLogger(__name__)
_DECAY = 0.98  # a step; the counts look back about 50 steps
_MIN_CONVERSIONS = 50.0
_MIN_HARD_FRAC = 0.05
_MASTERED = 0.5  # mean e_p of conversions above which the bare prompt needs no replay


class FeedingAlarm:
    """Decayed counts of conversions, of those on unsolved problems, and of their problems' e_p."""

    def __init__(self) -> None:
        self._conversions, self._hard, self._root_success = 0.0, 0.0, 0.0
        self._rang = False

    def observe(self, root_success: list[float]) -> bool:
        """Book a step's conversions by their problem's e_p. True, with one warning a run, when it rings."""
        self._conversions = _DECAY * self._conversions + len(root_success)
        self._hard = _DECAY * self._hard + sum(e < HARD_BELOW for e in root_success)
        self._root_success = _DECAY * self._root_success + sum(root_success)
        rings = (
            self._conversions >= _MIN_CONVERSIONS
            and self._hard < _MIN_HARD_FRAC * self._conversions
            and self._root_success > _MASTERED * self._conversions
        )
        if rings and not self._rang:
            _LOG.warning(
                "replay feeds on solved problems: %.0f %% of recent conversions were on problems that the bare prompt "
                "solves less than %.2f of the time; lower replay.store.retire_at to stop replaying what is learned",
                100.0 * self._hard / self._conversions, HARD_BELOW,
            )
            self._rang = True
        return rings

    def state_dict(self) -> dict[str, Any]:
        return {"conversions": self._conversions, "hard": self._hard, "root_success": self._root_success,
                "rang": self._rang}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._conversions, self._hard = float(state["conversions"]), float(state["hard"])
        self._root_success, self._rang = float(state["root_success"]), bool(state["rang"])
