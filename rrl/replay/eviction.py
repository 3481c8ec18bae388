"""Who leaves when there is no room: failed filter, then too often asleep, then the lowest posterior.

States stored in the first third of the run are protected from the last of these rules, down to a share of the
room: recency or a critic that has moved on would otherwise delete exactly the early ideas that replay is for.
"""

from __future__ import annotations

import numpy as np

from rrl.replay.columns import Columns
from rrl.replay.posterior import posterior_mean

EARLY_UNTIL = 1.0 / 3.0  # share of the token budget during which a stored state counts as early
KEEP, QUARANTINE = 0, 1  # codes of the status column


def early(entries: Columns, rows: np.ndarray) -> np.ndarray:
    """Which of ``rows`` were stored in the first third of the run."""
    stored_early: np.ndarray = entries["born_frac"][rows] < EARLY_UNTIL
    return stored_early


def protects(entries: Columns, rows: np.ndarray, *, early_frac: float, room: int, newcomer_early: bool) -> bool:
    """Whether one early state less would leave fewer than ``early_frac`` of ``room``."""
    return not newcomer_early and int(early(entries, rows).sum()) - 1 < early_frac * room


def worst(
    entries: Columns, rows: np.ndarray, *, kappa: float, max_naps: int, protect_early: bool, newcomer: float
) -> int | None:
    """The entry of ``rows`` (one problem's, oldest first) that gives way, None if the newcomer must.

    Args:
        kappa: tries that a value is worth in the posterior mean.
        max_naps: naps in a row after which a state is first in line.
        newcomer: posterior mean of the newcomer; it has to beat the lowest, a tie is refused.
    """
    quarantined = entries["status"][rows] == QUARANTINE
    if quarantined.any():
        return int(rows[np.argmax(quarantined)])
    worn_out = entries["naps"][rows] >= max_naps
    if worn_out.any():
        rows, newcomer = rows[worn_out], np.inf
    elif protect_early:
        rows = rows[~early(entries, rows)]
    if not len(rows):
        return None
    mean = posterior_mean(entries["conversions"][rows], entries["tries"][rows], entries["value"][rows], kappa)
    lowest = np.lexsort((-entries["born_step"][rows], mean))[0]  # among equals the newest goes
    return int(rows[lowest]) if newcomer > mean[lowest] else None


def fullest_problem(entries: Columns, *, max_naps: int, protect_early: bool, after: int) -> int | None:
    """Round-robin over the problems with most entries that may be evicted: the next one behind ``after``.

    Example: counts (2, 3, 3, 1), after 1 -> 2; after 2 -> 1.
    """
    rows = np.flatnonzero(entries.alive)
    if protect_early:
        free = (entries["status"][rows] == QUARANTINE) | (entries["naps"][rows] >= max_naps)
        rows = rows[free | ~early(entries, rows)]
    if not len(rows):
        return None
    counts = np.bincount(entries["problem"][rows])
    fullest = np.flatnonzero(counts == counts.max())
    behind = fullest[fullest > after]
    return int(behind[0] if len(behind) else fullest[0])
