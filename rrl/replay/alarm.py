"""Warns once a run of what goes wrong without anybody noticing: feeding, forgetting, and cuts without a choice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rrl.replay.observe import HARD_BELOW

_LOG = logging.getLogger(__name__)
_SLOW, _FAST = 0.98, 0.9  # weights of the past after a step: about 50 and 10 steps
_MIN_CONVERSIONS = 50.0
_MIN_HARD_FRAC = 0.05
_MASTERED = 0.5  # mean e_p of conversions above which the bare prompt needs no replay
_MIN_ADMISSIONS = 50.0
_MAX_FIRST_FRAC = 0.9
_MIN_ROWS = 50.0
_MOVED = 0.1  # change of a solve rate that is more than the noise of that many rows


class Alarms:
    """Decayed counts of conversions, solve rates and admissions, and which alarm has rung.

    Args:
        watch_first: whether cuts at the first boundary are news: in prose it is the first line. Not where admission
            takes it on purpose, nor among symbols, where the first one may be the whole idea.
    """

    def __init__(self, *, watch_first: bool) -> None:
        self._watch_first = watch_first
        self._feeding = [0.0, 0.0, 0.0]  # conversions, those on unsolved problems, their problems' e_p
        self._admitted = [0.0, 0.0]  # admissions, those at the first boundary
        self._rows = {name: [0.0] * 4 for name in ("fresh", "replayed")}  # solved, rows; slowly, then quickly forgotten
        self._rang: set[str] = set()

    def outcomes(self, root_success: Sequence[float], rows: Sequence[tuple[bool, bool]]) -> set[str]:
        """Book a step.

        Args:
            root_success: e_p of each conversion's problem.
            rows: (replayed, solved) of each row.

        Returns:
            The alarms that ring at this step, whether they have rung before or not.
        """
        step = (len(root_success), sum(e < HARD_BELOW for e in root_success), sum(root_success))
        self._feeding = [_SLOW * old + new for old, new in zip(self._feeding, step, strict=True)]
        for name, replayed in (("fresh", False), ("replayed", True)):
            solved = [s for r, s in rows if r == replayed]
            new = [sum(solved), len(solved)]
            kept = zip((_SLOW, _SLOW, _FAST, _FAST), self._rows[name], [*new, *new], strict=True)
            self._rows[name] = [decay * old + more for decay, old, more in kept]
        return {name for name, rings in (("feeding", self._feeds()), ("forgetting", self._forgets())) if rings}

    def admissions(self, num: float, first_frac: float) -> bool:
        """Book how many prefixes were stored in a step, and which share of them was cut at the first boundary."""
        self._admitted = [_SLOW * self._admitted[0] + num, _SLOW * self._admitted[1] + num * first_frac]
        rings = (self._watch_first and self._admitted[0] >= _MIN_ADMISSIONS
                 and self._admitted[1] > _MAX_FIRST_FRAC * self._admitted[0])
        if rings:
            self._warn(
                "first_boundary", "%.0f %% of the prefixes stored lately were cut at the first boundary: the value "
                "does not tell boundaries apart, or replay.cut gives no choice; look at value/auc_fresh and replay.cut",
                100.0 * self._admitted[1] / self._admitted[0],
            )
        return rings

    def state_dict(self) -> dict[str, Any]:
        return {"feeding": list(self._feeding), "admitted": list(self._admitted),
                "rows": {name: list(sums) for name, sums in self._rows.items()}, "rang": sorted(self._rang)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._feeding, self._admitted = list(state["feeding"]), list(state["admitted"])
        self._rows = {name: list(state["rows"][name]) for name in self._rows}
        self._rang = set(state["rang"])

    def _feeds(self) -> bool:
        """Whether conversions are many and on problems that the bare prompt solves: nothing is learned from them."""
        conversions, hard, root_success = self._feeding
        rings = (conversions >= _MIN_CONVERSIONS and hard < _MIN_HARD_FRAC * conversions
                 and root_success > _MASTERED * conversions)
        if rings:
            self._warn(
                "feeding", "replay feeds on solved problems: %.0f %% of recent conversions were on problems that the "
                "bare prompt solves less than %.2f of the time; lower replay.store.retire_at to stop replaying what is "
                "learned", 100.0 * hard / conversions, HARD_BELOW,
            )
        return rings

    def _forgets(self) -> bool:
        """Whether success from bare prompts falls while success from stored prefixes rises."""
        if min(self._rows[name][3] for name in self._rows) < _MIN_ROWS:
            return False
        (fresh_before, fresh_now), (replayed_before, replayed_now) = (
            (slow / slow_rows, fast / fast_rows) for slow, slow_rows, fast, fast_rows in self._rows.values()
        )
        rings = fresh_now < fresh_before - _MOVED and replayed_now > replayed_before + _MOVED
        if rings:
            self._warn(
                "forgetting", "bare prompts are being forgotten: their solved share fell from %.2f to %.2f while that "
                "of stored prefixes rose from %.2f to %.2f; lower the schedule's rho or replay.max_replay_frac",
                fresh_before, fresh_now, replayed_before, replayed_now,
            )
        return rings

    def _warn(self, name: str, message: str, *numbers: float) -> None:
        if name not in self._rang:
            _LOG.warning(message, *numbers)
            self._rang.add(name)
