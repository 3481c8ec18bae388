"""Files of a store that grows by what is new: arrays as safetensors, each file written once and never again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

PIECE = 1 << 25
"""Bytes of a file at most, but for a last row or column: what a save holds twice for a moment."""

Put = Callable[[str, dict[str, np.ndarray]], int]
"""(kind, arrays) -> number of the file that was written."""

_WASTE = 2.0  # times its live part that a file may hold before that is written anew
_MANY, _TIER = 8, 3  # files of about one size (within a factor of 2 ** _TIER) that are kept side by side


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> int:
    """Write a new file; returns its bytes."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    return path.stat().st_size


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What ``write_arrays`` was given."""
    return load_file(path)


def as_bytes(plain: Any) -> np.ndarray:
    """JSON as an array of bytes."""
    return np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)


def from_bytes(array: np.ndarray) -> Any:
    """The inverse of ``as_bytes``."""
    return json.loads(array.tobytes())


def not_kept(sizes: Mapping[int, int], live: np.ndarray, limit: float) -> list[int]:
    """Numbers of the files whose live part is written anew: those that are mostly dead, and many small ones.

    Files of about one size are merged when they are many (O'Neil et al., 1996: a log-structured merge tree), so their
    number grows with the logarithm of the store, and what they hold is written a few times at most.

    Args:
        sizes: of each file, by its number.  live: of its live part, at its number.
        limit: size of a file at most; those of more than half of it are not merged.
    """
    dead = [number for number, size in sizes.items() if size > _WASTE * live[number]]
    tier = {n: int(live[n]).bit_length() // _TIER for n in sizes if n not in dead and live[n] < limit / 2}
    crowded = {size for size, count in Counter(tier.values()).items() if count > _MANY}
    return dead + [number for number, size in tier.items() if size in crowded]
