"""Weights in blocks with running sums: a draw in proportion to them looks at one block, a change rewrites one.

The exponential race (``race.py``) reads every weight at every draw; beyond 2e5 states that is what a draw costs.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1024  # weights; a draw costs log2 of it and of the number of blocks, a change one running sum over it


class BlockSums:
    """Weights >= 0, numbered from 0; those never put are 0."""

    def __init__(self) -> None:
        self._weights = np.zeros((1, BLOCK))
        self._running = np.zeros((1, BLOCK))

    def put(self, numbers: np.ndarray, weights: np.ndarray) -> None:
        """Set the weights of these distinct numbers."""
        blocks = int(numbers.max(initial=0)) // BLOCK + 1
        if blocks > len(self._weights):
            more = np.zeros((max(blocks, 2 * len(self._weights)) - len(self._weights), BLOCK))
            self._weights, self._running = np.concatenate([self._weights, more]), np.concatenate([self._running, more])
        self._weights.reshape(-1)[numbers] = weights
        changed = np.unique(numbers // BLOCK)
        self._running[changed] = np.cumsum(self._weights[changed], axis=1)

    @property
    def weights(self) -> np.ndarray:
        """All of them, by number."""
        return self._weights.reshape(-1)

    def pick(self, uniform: np.ndarray) -> np.ndarray:
        """Numbers drawn with replacement in proportion to the weights, one for each uniform in [0, 1); none where all
        weights are 0. Weights (1, 0, 3): u .2 -> 0; .25 -> 2; .9 -> 2."""
        ends = np.cumsum(self._running[:, -1])
        if not ends[-1] > 0.0:
            return np.empty(0, dtype=np.int64)
        wanted = uniform * ends[-1]
        block = np.minimum(np.searchsorted(ends, wanted, side="right"), len(ends) - 1)
        wanted = wanted - (ends[block] - self._running[block, -1])
        place = np.zeros(len(uniform), dtype=np.int64)
        half = BLOCK // 2
        while half:  # binary search of all at once: the first place whose running sum exceeds what is wanted
            place += half * (self._running[block, place + half - 1] <= wanted)
            half //= 2
        drawn = self._weights[block, place] > 0.0  # the last digit of a sum may point at an empty place
        numbers: np.ndarray = (block * BLOCK + place)[drawn]
        return numbers
