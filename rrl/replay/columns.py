"""Growable numpy columns with stable row numbers: a removed row's place is used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Values = np.ndarray | Sequence[float | int] | float | int
"""Of one column at several rows: one each, or one for all."""


class Columns:
    """Equal-length arrays, one a name. ``columns["value"]`` has all places, alive or not; growing replaces it."""

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self._dtypes = dict(dtypes)
        self.row_bytes = sum(np.dtype(dtype).itemsize for dtype in dtypes.values())
        self.clear()

    def clear(self) -> None:
        """Forget every row."""
        self._data = {name: np.zeros(64, dtype=dtype) for name, dtype in self._dtypes.items()}
        self._alive = np.zeros(64, dtype=bool)
        self._serial = np.zeros(64, dtype=np.int64)
        self._added = 0
        self._free: list[int] = []
        self._size = 0

    def __getitem__(self, name: str) -> np.ndarray:
        return self._data[name]

    def __len__(self) -> int:
        """Rows alive."""
        return self._size - len(self._free)

    @property
    def alive(self) -> np.ndarray:
        """[places] which places hold a row; the others' values mean nothing."""
        return self._alive

    @property
    def serial(self) -> np.ndarray:
        """[places] rows are numbered 1, 2, ... as they are added; a place that is used again gets another number."""
        return self._serial

    @property
    def names(self) -> list[str]:
        return list(self._dtypes)

    def add(self, values: Mapping[str, float | int | bool]) -> int:
        """A new row with these values, one for every column; returns its number."""
        row = self.reserve()
        self.write(np.array([row]), values)
        return row

    def reserve(self) -> int:
        """The place of a row that ``write`` will fill; until then it counts, but is not alive."""
        if self._free:
            return self._free.pop()
        row, self._size = self._size, self._size + 1
        if self._size > len(self._alive):
            self._grow(self._size + max(self._size // 4, 64))
        return row

    def write(self, rows: np.ndarray, values: Mapping[str, Values]) -> None:
        """Fill reserved places, oldest first: an array for each column, or one number that all of them get."""
        assert values.keys() == self._dtypes.keys(), sorted(values.keys() ^ self._dtypes.keys())
        for name, value in values.items():
            self._data[name][rows] = value
        self._alive[rows] = True
        self._serial[rows] = np.arange(self._added + 1, self._added + len(rows) + 1)
        self._added += len(rows)

    def remove(self, row: int) -> None:
        assert self._alive[row], row
        self._alive[row] = False
        self._free.append(row)

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Copies of all columns at ``rows``, in that order: what a checkpoint holds."""
        return {name: column[rows] for name, column in self._data.items()}

    def fill(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace all rows by what ``take`` gave; they are numbered 0, 1, ... Raises ValueError for anything else."""
        if arrays.keys() != self._dtypes.keys():
            raise ValueError(f"stored columns are {sorted(arrays)}; expected {sorted(self._dtypes)}")
        size = len(next(iter(arrays.values())))
        for name, values in arrays.items():
            kind = np.dtype(self._dtypes[name]).kind
            if (values.shape != (size,) or values.dtype.kind != kind or (kind == "f" and not np.isfinite(values).all())
                    or (kind == "i" and not np.array_equal(values.astype(self._dtypes[name]), values))):  # too wide
                raise ValueError(f"stored column {name} is {values.dtype}{list(values.shape)}; expected {size} finite "
                                 f"numbers of kind {kind}")
        self.clear()
        self._size = size
        self._grow(max(64, self._size))
        for name, values in arrays.items():
            self._data[name][: self._size] = values
        self._alive[: self._size] = True
        self._serial[: self._size] = np.arange(1, self._size + 1)
        self._added = self._size

    def _grow(self, places: int) -> None:
        for name, column in self._data.items():
            self._data[name] = np.concatenate([column, np.zeros(places - len(column), dtype=column.dtype)])
        more = places - len(self._alive)
        self._alive = np.concatenate([self._alive, np.zeros(more, dtype=bool)])
        self._serial = np.concatenate([self._serial, np.zeros(more, dtype=np.int64)])
