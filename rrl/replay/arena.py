"""All prefix tokens in one flat int32 array: append at the end, count holes, compact when they are many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rrl.types import Tokens

MAX_HOLE_FRAC = 0.25  # of the used part; beyond it one copy of the live tokens is cheaper than the memory
_GROWTH = 1.25  # of the memory when it is full: both copies stand side by side for a moment
_AT_ONCE = 1 << 20  # tokens moved at a time: the indices of a move take four times their memory
_MOST_SHARED = 1 << 20  # beyond any vocabulary; what a damaged or foreign store holds is not worth its memory
_LONG = 128  # tokens of a row, on average, beyond which a slice a row is faster than an index a token
_SMALL = 1024  # tokens below which nobody minds holes


class Arena:
    """Token rows addressed by (offset, length), which the owner keeps in its columns."""

    def __init__(self) -> None:
        self._tokens = np.zeros(_SMALL, dtype=np.int32)
        self.used = 0
        self.holes = 0

    def append(self, tokens: np.ndarray) -> int:
        """Store ``tokens``; returns their offset."""
        offset, self.used = self.used, self.used + len(tokens)
        if self.used > len(self._tokens):
            grown = np.zeros(max(self.used, int(_GROWTH * len(self._tokens))), dtype=np.int32)
            grown[:offset] = self._tokens[:offset]
            self._tokens = grown
        self._tokens[offset : self.used] = tokens
        return offset

    def read(self, offset: int, length: int) -> np.ndarray:
        return self._tokens[offset : offset + length]

    def at(self, places: np.ndarray) -> np.ndarray:
        """Single tokens."""
        found: np.ndarray = self._tokens[places]
        return found

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
        total = int(lengths.sum())
        if _LONG * len(lengths) < total <= _AT_ONCE:
            ends = (offsets + lengths).tolist()
            rows = [self._tokens[first:end] for first, end in zip(offsets.tolist(), ends, strict=True)]
            return np.concatenate(rows)
        gathered = np.empty(total, dtype=np.int32)
        self._copy(gathered, offsets, lengths)
        return gathered

    def compact(self, offsets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Keep only these rows, moved together where they are; returns their new offsets."""
        order = np.argsort(offsets)
        ends = np.cumsum(lengths[order])
        self._copy(self._tokens, offsets[order], lengths[order])  # a row moves towards 0, over what has moved already
        self.used, self.holes = int(ends[-1]) if len(ends) else 0, 0
        moved = np.empty_like(offsets)
        moved[order] = ends - lengths[order]
        return moved

    def _copy(self, into: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> None:
        """Write these rows end to end, a bounded number of tokens at a time."""
        ends = np.cumsum(lengths)
        first, written = 0, 0
        while first < len(lengths):
            last = max(first + 1, int(np.searchsorted(ends, written + _AT_ONCE, side="right")))
            some, size = lengths[first:last], int(ends[last - 1]) - written
            start = np.repeat(offsets[first:last] - (ends[first:last] - some - written), some)
            into[written : written + size] = self._tokens[start + np.arange(size)]
            first, written = last, written + size

    def fill(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Replace everything by rows end to end; returns their offsets."""
        self._tokens = np.concatenate([tokens.astype(np.int32), np.zeros(_SMALL, dtype=np.int32)])
        self.used, self.holes = len(tokens), 0
        starts: np.ndarray = np.cumsum(lengths) - lengths
        return starts


class Whole:
    """Arrays to lists of Python ints, each number one object: making 153,600 new ones is what a draw would wait for."""

    def __init__(self) -> None:
        self._objects = np.array([], dtype=object)  # 0, 1, ..., n - 1, -n, ..., -1: as indices count

    def list(self, values: np.ndarray) -> list[int]:
        """As ``values.tolist()``."""
        reach = max(int(values.max(initial=0)), -1 - int(values.min(initial=0))) + 1
        if reach > _MOST_SHARED:
            return values.tolist()  # type: ignore[no-any-return]
        if 2 * reach > len(self._objects):
            size = 1 << reach.bit_length()
            self._objects = np.array([*range(size), *range(-size, 0)], dtype=object)
        found: list[int] = self._objects[values].tolist()
        return found


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
