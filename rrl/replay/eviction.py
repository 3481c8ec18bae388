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


def protects(num_early: int, at_least: float, newcomer_early: bool) -> bool:
    """Whether one early state less than ``num_early`` would leave fewer than ``at_least`` of them."""
    return not newcomer_early and num_early - 1 < at_least


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
    low = np.flatnonzero(mean == mean.min())
    if len(low) > 1:  # among equals the newest goes
        low = low[np.argsort(-entries["born_step"][rows[low]], kind="stable")]
    return int(rows[low[0]]) if newcomer > mean[low[0]] else None
