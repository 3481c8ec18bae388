"""All prefix tokens in one flat int32 array: append at the end, count holes, compact when they are many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rrl.types import Tokens

MAX_HOLE_FRAC = 0.25  # of the used part; beyond it one copy of the live tokens is cheaper than the memory
_SMALL = 1024  # tokens below which nobody minds holes


class Arena:
    """Token rows addressed by (offset, length), which the owner keeps in its columns."""

    def __init__(self) -> None:
        self._tokens = np.zeros(_SMALL, dtype=np.int32)
        self.used = 0
        self.holes = 0

    def append(self, tokens: Sequence[int]) -> int:
        """Store ``tokens``; returns their offset."""
        offset, self.used = self.used, self.used + len(tokens)
        if self.used > len(self._tokens):
            grown = np.zeros(max(self.used, 2 * len(self._tokens)), dtype=np.int32)
            grown[:offset] = self._tokens[:offset]
            self._tokens = grown
        self._tokens[offset : self.used] = tokens
        return offset

    def read(self, offset: int, length: int) -> np.ndarray:
        return self._tokens[offset : offset + length]

    def free(self, length: int) -> None:
        """Tell that a row of ``length`` tokens is no longer addressed."""
        self.holes += length

    @property
    def num_bytes(self) -> int:
        """Of the tokens that are addressed."""
        return (self.used - self.holes) * self._tokens.itemsize

    @property
    def wasteful(self) -> bool:
        return self.used > _SMALL and self.holes > MAX_HOLE_FRAC * self.used

    def gather(self, offsets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The rows' tokens end to end. Rows (3, 2), (0, 1) of [a b c d e] -> [d e a]."""
        first = np.repeat(offsets - (np.cumsum(lengths) - lengths), lengths)
        gathered: np.ndarray = self._tokens[first + np.arange(int(lengths.sum()))]
        return gathered

    def compact(self, offsets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Keep only these rows; returns their new offsets."""
        return self.fill(self.gather(offsets, lengths), lengths)

    def fill(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Replace everything by rows end to end; returns their offsets."""
        self._tokens = np.concatenate([tokens.astype(np.int32), np.zeros(_SMALL, dtype=np.int32)])
        self.used, self.holes = len(tokens), 0
        starts: np.ndarray = np.cumsum(lengths) - lengths
        return starts


def pack(rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Ragged integers as two arrays, for checkpoints. [[5, 6], [7]] -> tokens [5 6 7], lengths [2 1]."""
    return {
        "tokens": np.array([t for row in rows for t in row], dtype=np.int32),
        "lengths": np.array([len(row) for row in rows], dtype=np.int64),
    }


def unpack(packed: dict[str, np.ndarray]) -> list[Tokens]:
    """The inverse of ``pack``."""
    flat, ends = packed["tokens"].tolist(), np.cumsum(packed["lengths"]).tolist()
    return [tuple(flat[end - n : end]) for end, n in zip(ends, packed["lengths"].tolist(), strict=True)]
