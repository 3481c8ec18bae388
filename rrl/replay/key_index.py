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

    def find_many(self, sought: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """The rows with these keys, -1 where there is none."""
        slots, last = np.frombuffer(self._slots, dtype=np.int32), len(self._slots) - 1
        found, waiting = np.full(len(sought), -1, dtype=np.int64), np.arange(len(sought))
        place = (sought & np.uint64(last)).astype(np.int64)
        while len(waiting):
            held = slots[place]
            same = (held > 0) & (keys[held - 1] == sought[waiting])
            found[waiting[same]] = held[same] - 1
            on = (held != 0) & ~same
            waiting, place = waiting[on], (place[on] + 1) & last
        return found

    def insert(self, rows: np.ndarray, keys: np.ndarray, alive: np.ndarray) -> None:
        """Rows whose keys are not there yet. ``keys`` and ``alive`` hold them already."""
        if 2 * (self._used + len(rows)) > len(self._slots):
            self.rebuild(keys, np.flatnonzero(alive))
            return
        self._used += _take_slots(np.frombuffer(self._slots, dtype=np.int32), keys, rows)

    def remove(self, key: int, keys: np.ndarray) -> None:
        slot = self._slot(key, keys)
        assert slot is not None, key
        self._slots[slot] = _FREED

    def rebuild(self, keys: np.ndarray, rows: np.ndarray) -> None:
        """Index these rows and no others."""
        size = max(_SLOTS, 1 << (8 * len(rows) // 3).bit_length())  # at most 3/8 full: a third as many may come
        slots = np.zeros(size, dtype=np.int32)
        self._used = _take_slots(slots, keys, rows)
        self._slots = array("i", slots.tobytes())

    def _slot(self, key: int, keys: np.ndarray) -> int | None:
        slots, bits = self._slots, len(self._slots) - 1
        slot = key & bits
        while held := slots[slot]:
            if held > 0 and int(keys[held - 1]) == key:
                return slot
            slot = (slot + 1) & bits
        return None


def _take_slots(slots: np.ndarray, keys: np.ndarray, rows: np.ndarray) -> int:
    """All rows look for a slot at once, and who finds it taken looks at the next. Returns how many were never used."""
    last, fresh = len(slots) - 1, 0
    place = (keys[rows] & np.uint64(last)).astype(np.int64)
    while len(rows):
        held = slots[place]
        free = held <= 0
        slots[place[free]] = rows[free] + 1  # of several at one slot the last one stays
        settled = slots[place] == rows + 1
        fresh += int(np.count_nonzero(settled & (held == 0)))
        rows, place = rows[~settled], (place[~settled] + 1) & last
    return fresh
