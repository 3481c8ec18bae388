"""Draws from a large store without reading all of it: two-level sums over problems, then rejection.

Below ``RACE_UP_TO`` states the exponential race of ``draw.py`` decides, whose picks depend on no history of draws.
Beyond it a problem is proposed in proportion to its weight and taken if it has an eligible state left to give: the
same law (a race is sampling with replacement, rejection leaves out who may not be drawn) from other random numbers.
"""

from __future__ import annotations

import numpy as np

from rrl import rng
from rrl.protocols import ProblemWeight
from rrl.replay.block_sums import BlockSums
from rrl.replay.draw import Eligible
from rrl.replay.draw_many import Groups, nums_eligible, runs
from rrl.replay.store import Store

RACE_UP_TO = 200_000  # states; where a race over all of them costs some 2 ms
_PROPOSALS = (1.125, 4.0, 16.0)  # for each state wanted; if they do not do hardly anybody is eligible, and a race reads
_MORE = 8  # proposals on top, for small numbers


class Lottery:
    """The weights of a store's problems, kept up to date."""

    def __init__(self) -> None:
        self._sums = BlockSums()

    def refresh(self, store: Store, weight: ProblemWeight) -> None:
        """Take over what changed. A problem that is parked or owns no state has weight 0."""
        if not store.changed:
            return
        numbers = np.array(sorted(store.changed), dtype=np.int64)
        store.changed.clear()
        p = store.problems.columns
        owns = np.array([bool(store.shelf.rows_of(number)) for number in numbers.tolist()])
        weights = weight.weight(p["root_success"][numbers], p["replays"][numbers])
        self._sums.put(numbers, np.where(owns & ~p["parked"][numbers], weights, 0.0))

    @property
    def weights(self) -> np.ndarray:
        """Of all problems, by number, zeros behind the last."""
        return self._sums.weights

    def pick(
        self, store: Store, eligible: Eligible, num: int, *, seed: int, step: int, max_per_problem: int,
        eligible_frac: float,
    ) -> Groups | None:
        """Problems and their eligible states; None where proposals keep being rejected and all must be read."""
        for times in _PROPOSALS:
            turns = np.arange(int(times * num) + _MORE)
            proposed = self._sums.pick(rng.uniforms(seed, "replay.lottery", step, turns, 0))
            if not len(proposed):
                return None
            numbers, of = np.unique(proposed, return_inverse=True)
            rows, counts = store.shelf.rows_of_many(numbers.tolist())
            may = eligible(rows)
            counts = np.add.reduceat(may, np.cumsum(counts) - counts, dtype=np.int64)
            gives = np.minimum(max_per_problem, nums_eligible(counts, eligible_frac))
            taken = np.flatnonzero(_earlier(of) < gives[of])[:num]
            if len(taken) == num:
                return _groups(numbers, of[taken], rows[may], counts)
        return None


def _earlier(of: np.ndarray) -> np.ndarray:
    """How often each number stood before. [2 0 2 2] -> [0 0 1 2]."""
    order = np.argsort(of, kind="stable")
    firsts, sizes = runs(of[order])
    earlier = np.empty(len(of), dtype=np.int64)
    earlier[order] = np.arange(len(of)) - np.repeat(firsts, sizes)
    return earlier


def _groups(numbers: np.ndarray, taken: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> Groups:
    """The problems at the places ``taken`` of ``numbers``, whose entries that may be drawn are ``rows``."""
    nums = np.bincount(taken, minlength=len(numbers))
    chosen, first = np.unique(taken, return_index=True)
    return Groups(numbers[chosen], nums[chosen], np.argsort(first), rows[np.repeat(nums > 0, counts)], counts[chosen])
