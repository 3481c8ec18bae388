"""Row of a key, in 8 bytes an entry where a dict takes 100: the keys stand in a column already, and are hashes."""

from __future__ import annotations

from array import array

import numpy as np

_FREED = -1
_SLOTS = 1024  # at first; a power of two


class KeyIndex:
    """Open addressing with linear probing, at most half full, so that a look takes 1.5 probes on average (Knuth,
    TAOCP 3, 6.4). A slot holds row + 1; 0 = never used, -1 = freed. The owner passes its column of keys."""

    def __init__(self) -> None:
        self._slots = array("i", bytes(4 * _SLOTS))
        self._used = 0  # slots that are not 0

    def find(self, key: int, keys: np.ndarray) -> int | None:
        """The row with this key, None if there is none."""
        slot = self._slot(key, keys)
        return None if slot is None else self._slots[slot] - 1

    def insert(self, key: int, row: int, keys: np.ndarray, alive: np.ndarray) -> None:
        """A key that is not there yet. ``keys`` and ``alive`` hold the row already."""
        if 2 * (self._used + 1) > len(self._slots):
            self.rebuild(keys, np.flatnonzero(alive))
            return
        bits = len(self._slots) - 1
        slot = key & bits
        while self._slots[slot] > 0:
            slot = (slot + 1) & bits
        self._used += self._slots[slot] == 0
        self._slots[slot] = row + 1

    def remove(self, key: int, keys: np.ndarray) -> None:
        slot = self._slot(key, keys)
        assert slot is not None, key
        self._slots[slot] = _FREED

    def rebuild(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Index these rows and no others: all look for a slot at once, and who finds it taken looks at the next."""
        size = max(_SLOTS, 1 << (8 * len(rows) // 3).bit_length())  # at most 3/8 full: a third as many may come
        slots, bits = np.zeros(size, dtype=np.int32), np.uint64(size - 1)
        place = (keys[rows] & bits).astype(np.int64)
        while len(rows):
            free = slots[place] == 0
            slots[place[free]] = rows[free] + 1  # of several at one slot the last one stays
            left = slots[place] != rows + 1
            rows, place = rows[left], (place[left] + 1) & (size - 1)
        self._slots = array("i", slots.tobytes())
        self._used = int(np.count_nonzero(slots))

    def _slot(self, key: int, keys: np.ndarray) -> int | None:
        slots, bits = self._slots, len(self._slots) - 1
        slot = key & bits
        while held := slots[slot]:
            if held > 0 and int(keys[held - 1]) == key:
                return slot
            slot = (slot + 1) & bits
        return None
