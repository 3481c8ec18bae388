"""Who leaves when there is no room: failed filter, then too often asleep, then the lowest posterior.

States stored in the first third of the run are protected from the last of these rules, down to a share of the
room: recency or a critic that has moved on would otherwise delete exactly the early ideas that replay is for.
"""

from __future__ import annotations

from typing import NamedTuple

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


class Worst(NamedTuple):
    """Of one problem: the entry that gives way first, and its place in line; the smaller the sooner.

    row: -1 where nobody may go.  kind: 0 failed a filter, 1 worn out, 2 any other, 3 protected.  mean: its posterior.
    newest: minus the step that it was stored at, for among equals the newest goes.
    """

    kind: int
    mean: float
    newest: int
    row: int

    def gives_way_to(self, newcomer: float) -> bool:
        """Whether it goes for a newcomer of this posterior mean, which has to beat its own; a tie is refused."""
        return self.kind < 2 or (self.kind == 2 and newcomer > self.mean)


def worst(
    entries: Columns, rows: np.ndarray, counts: np.ndarray, protect_early: np.ndarray, *, kappa: float, max_naps: int
) -> list[Worst]:
    """The entry of each problem that gives way first, for many problems in one pass.

    Args:
        rows: entries, problem after problem, oldest first.
        counts: how many each problem has, >= 1.  protect_early: whether its early states stay.
        kappa: tries that a value is worth in the posterior mean.
        max_naps: naps in a row after which a state is first in line.
    """
    if not len(rows):
        return []
    of = np.repeat(np.arange(len(counts)), counts)
    kind = np.where(early(entries, rows) & protect_early[of], 3, 2)
    kind = np.where(entries["naps"][rows] >= max_naps, 1, kind)
    kind = np.where(entries["status"][rows] == QUARANTINE, 0, kind)
    mean = posterior_mean(entries["conversions"][rows], entries["tries"][rows], entries["value"][rows], kappa)
    ranks = [kind, np.where(kind == 0, 0.0, mean), np.where(kind == 0, 0, -entries["born_step"][rows].astype(np.int64))]
    first, lows = np.ones(len(rows), dtype=bool), []
    for rank in ranks:  # whoever is smallest in one rank stays in line for the next
        left = np.flatnonzero(first)
        starts = np.searchsorted(of[left], np.arange(len(counts)))
        low = np.minimum.reduceat(rank[left], starts)
        lows.append(low.tolist())
        first[left] = rank[left] == low[of[left]]
    left = np.flatnonzero(first)
    oldest = rows[left[np.searchsorted(of[left], np.arange(len(counts)))]].tolist()
    return [Worst(*line) for line in zip(*lows, oldest, strict=True)]
