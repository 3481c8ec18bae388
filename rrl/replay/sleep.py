"""Tries and conversions of stored states: forgetting, and the sleep of states that keep failing.

Deleting a dead state at once would throw away exactly those whose skill arrives later, so it sleeps, longer
each time, and is first in line for eviction only after several naps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rrl.replay.columns import Columns

NEVER = -(2**62)  # sleep_until of a state that is awake; steps may be negative (value warm-up)
_NAP_SHARE = 0.25  # of its counts that a state keeps when it falls asleep: a later try weighs more than old failures


class SleepRule(NamedTuple):
    """dead_after: failures in a row.  nap_steps: first nap.  nap_max: longest nap (each is twice the last)."""

    dead_after: int
    nap_steps: int
    nap_max: int


def asleep(entries: Columns, row: int, step: int) -> bool:
    """A nap of k steps taken at step s covers the draws of steps s + 1 .. s + k."""
    return bool(entries["sleep_until"][row] >= step)


def book_tries(
    entries: Columns, rows: np.ndarray, tries: np.ndarray, wins: np.ndarray, *, step: int, decay: float, rule: SleepRule
) -> None:
    """Book one step's outcomes, grouped by state: m tries with w conversions.

    c <- decay^m c + w and n <- decay^m n + m. Without a conversion the failures in a row grow by m; at
    ``dead_after`` the state sleeps min(nap_steps 2^naps, nap_max) steps and c, n are quartered. One conversion
    wakes it and resets its naps.

    Args:
        rows: distinct entries [K].  tries: m >= 1 [K].  wins: w in 0..m [K].
        decay: weight of the past after one try, (0, 1].
    """
    keep = decay ** tries.astype(np.float64)
    conversions = keep * entries["conversions"][rows] + wins
    counts = keep * entries["tries"][rows] + tries
    won = wins > 0
    fails = np.where(won, 0, entries["fails_in_a_row"][rows] + tries)
    naps = np.where(won, 0, entries["naps"][rows].astype(np.int64))
    until = np.where(won, NEVER, entries["sleep_until"][rows])
    tired = fails >= rule.dead_after
    nap = np.minimum(rule.nap_steps * 2 ** np.minimum(naps, 30), rule.nap_max)
    share = np.where(tired, _NAP_SHARE, 1.0)
    entries["conversions"][rows] = conversions * share
    entries["tries"][rows] = counts * share
    entries["raw_tries"][rows] += tries
    entries["raw_conversions"][rows] += wins
    entries["fails_in_a_row"][rows] = np.where(tired, 0, fails)
    entries["naps"][rows] = naps + tired
    entries["sleep_until"][rows] = np.where(tired, step + nap, until)
    entries["last_used"][rows] = step
