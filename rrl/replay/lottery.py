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
from rrl.replay.draw import Eligible, num_eligible
from rrl.replay.store import Store

RACE_UP_TO = 200_000  # states; where a race over all of them costs some 2 ms
_ROUNDS = 8  # of twice as many proposals as are wanted; then hardly anybody is eligible, and a race reads all


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

    def pick(
        self, store: Store, eligible: Eligible, num: int, *, seed: int, step: int, max_per_problem: int,
        eligible_frac: float,
    ) -> list[tuple[int, int]] | None:
        """As ``draw.pick_problems``; None where proposals keep being rejected and all must be read."""
        generator, left, picks = rng.generator(seed, "replay.lottery", step), dict[int, int](), dict[int, int]()
        missing = num
        for _ in range(_ROUNDS):
            proposed = self._sums.pick(generator.random(2 * num)).tolist()
            for number, count in _counts(store, eligible, [n for n in dict.fromkeys(proposed) if n not in left]):
                left[number] = min(max_per_problem, num_eligible(count, eligible_frac)) if count else 0
            for number in proposed:
                if missing and left[number] > picks.get(number, 0):
                    picks[number] = picks.get(number, 0) + 1
                    missing -= 1
            if not missing:
                return list(picks.items())
        return None


def _counts(store: Store, eligible: Eligible, numbers: list[int]) -> list[tuple[int, int]]:
    """(problem number, how many of its states may be drawn)."""
    owned = [store.shelf.rows_of(number) for number in numbers]
    ends = np.cumsum([len(rows) for rows in owned], dtype=np.int64)
    may = eligible(np.array([row for rows in owned for row in rows], dtype=np.int64))
    before = np.concatenate([[0], np.cumsum(may)])
    counts = before[ends] - before[np.concatenate([[0], ends[:-1]])] if numbers else ends
    return list(zip(numbers, counts.tolist(), strict=True))
