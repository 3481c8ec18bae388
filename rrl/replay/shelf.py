"""Entries as numpy columns, their tokens in one arena, and two indices: by problem and by key. No taste here."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rrl.replay.arena import Arena, Whole
from rrl.replay.columns import Columns, Values
from rrl.replay.eviction import KEEP, QUARANTINE
from rrl.replay.key_index import KeyIndex

COLUMNS = {
    "key": "<u8",  # prefix_key as a number
    "problem": "<i4",  # its number in the problem table
    "origin": "|i1",  # index into records.ORIGINS
    "parent": "<u8",  # key of the start it was cut from
    "offset": "<i8",  # of its tokens in the arena
    "length": "<i4",  # of its tokens in the arena, given ones included
    "depth": "<i4",  # sampled tokens
    "depth_frac": "<f8",  # depth over the sampled tokens of the response it was cut from
    "born_step": "<i4",
    "born_frac": "<f8",  # share of the token budget used when stored
    "born_value": "<f8",  # P(solved) when stored
    "value": "<f8",  # P(solved) when last re-scored
    "value_std": "<f8",
    "score_step": "<i4",  # of the last re-scoring
    "td": "<f8",  # surprise on the last way from it, see surprise.py
    "tries": "<f8",  # decayed n
    "conversions": "<f8",  # decayed c
    "raw_tries": "<i4",  # undecayed, for reports and credit caps
    "raw_conversions": "<i4",
    "fails_in_a_row": "<i4",
    "naps": "<i4",  # in a row, without a conversion between them
    "sleep_until": "<i8",  # last step of the nap
    "last_used": "<i4",  # step of the last replay, or of storing
    "status": "|i1",  # eviction.KEEP or QUARANTINE
    "parent_reward": "<f8",  # score of the attempt it was cut from
}

_NONE = array("i")


class Shelf:
    """Rows with tokens. Row numbers are stable while an entry lives and mean nothing after a reload."""

    def __init__(self) -> None:
        self.columns = Columns(COLUMNS)
        self._arena, self._whole = Arena(), Whole()
        self._rows_of: dict[int, array[int]] = {}  # a third of what lists of numbers take
        self._row_of_key = KeyIndex()

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def problems(self) -> list[int]:
        """Numbers of the problems that own entries, ascending."""
        return sorted(self._rows_of)

    @property
    def num_bytes(self) -> int:
        """What the entries take: their columns and their tokens, room for growth not counted."""
        return len(self) * self.columns.row_bytes + self._arena.num_bytes

    def find(self, key: str) -> int | None:
        """The entry with this key, None if there is none."""
        return self._row_of_key.find(int(key, 16), self.columns["key"])

    def find_many(self, keys: np.ndarray) -> np.ndarray:
        """The entries with these keys as numbers, -1 where there is none."""
        return self._row_of_key.find_many(keys, self.columns["key"])

    def rows_of(self, problem: int) -> array[int]:
        """Entries of a problem number, oldest first."""
        return self._rows_of.get(problem, _NONE)

    def rows_of_many(self, problems: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(the entries of each of these problems, end to end; how many each has)."""
        owned = [self._rows_of.get(problem, _NONE) for problem in problems]
        rows = np.frombuffer(b"".join(owned), dtype=np.int32).astype(np.int64)
        return rows, np.fromiter(map(len, owned), dtype=np.int64, count=len(owned))

    def all_rows(self) -> np.ndarray:
        """All entries, by problem number and age: an order that survives a reload."""
        return self.rows_of_many(self.problems)[0]

    def tokens(self, row: int) -> np.ndarray:
        return self._arena.read(int(self.columns["offset"][row]), int(self.columns["length"][row]))

    def token_rows(self, rows: np.ndarray) -> list[tuple[int, ...]]:
        """Tokens of many entries, in one gather."""
        lengths = self.columns["length"][rows]
        flat = self._whole.list(self.flat_tokens(rows))
        ends = np.cumsum(lengths).tolist()
        return [tuple(flat[first:end]) for first, end in zip([0, *ends], ends, strict=False)]

    def flat_tokens(self, rows: np.ndarray) -> np.ndarray:
        """Tokens of many entries, end to end."""
        return self._arena.gather(self.columns["offset"][rows], self.columns["length"][rows])

    def tokens_at(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """One token of each of these entries."""
        return self._arena.at(self.columns["offset"][rows] + places)

    def reserve(self, problem: int) -> int:
        """A place for an entry of this problem that ``write`` will fill."""
        row = self.columns.reserve()
        self._rows_of.setdefault(problem, array("i")).append(row)
        return row

    def write(
        self, rows: np.ndarray, values: Mapping[str, Values], tokens: np.ndarray, lengths: np.ndarray
    ) -> None:
        """Fill reserved places, oldest first.

        Args:
            values: every column but the offset, length and depth of the tokens.
            tokens: of all of them, end to end.  lengths: >= 1 each.
        """
        starts = np.cumsum(lengths) - lengths
        depth = np.add.reduceat(tokens >= 0, starts, dtype=np.int32)  # given tokens are negative
        place: dict[str, Values] = {"offset": self._arena.append(tokens) + starts, "length": lengths, "depth": depth}
        self.columns.write(rows, {**values, **place})
        self._row_of_key.insert(rows, self.columns["key"], self.columns.alive)

    def remove(self, row: int) -> None:
        """Forget an entry; the arena is compacted when a quarter of it is holes."""
        c = self.columns
        number = int(c["problem"][row])
        self._rows_of[number].remove(row)
        if not self._rows_of[number]:
            del self._rows_of[number]
        self._row_of_key.remove(int(c["key"][row]), c["key"])
        self._arena.free(int(c["length"][row]))
        c.remove(row)
        if self._arena.wasteful:
            rows = np.flatnonzero(c.alive)
            c["offset"][rows] = self._arena.compact(c["offset"][rows], c["length"][rows])

    def state_dict(self) -> dict[str, Any]:
        """Arrays only. Row numbers, holes and free places are left out: equal shelves give equal states."""
        columns = self.columns.take(self.all_rows())
        return {"tokens": self._arena.gather(columns.pop("offset"), columns["length"]), "columns": columns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        columns, tokens = dict(state["columns"]), state["tokens"]
        lengths = columns["length"]
        if tokens.ndim != 1 or tokens.dtype.kind != "i" or (lengths < 1).any() or int(lengths.sum()) != len(tokens):
            raise ValueError(f"stored prefixes are {tokens.dtype}{list(tokens.shape)} for lengths that sum to "
                             f"{int(lengths.sum())}; expected rows of at least one token, end to end")
        if not np.isin(columns["status"], (KEEP, QUARANTINE)).all() or not np.isin(columns["origin"], (0, 1, 2)).all():
            raise ValueError("stored prefixes have a status or an origin that is none")
        columns["offset"] = self._arena.fill(tokens, lengths)
        self.columns.fill(columns)
        order = np.argsort(columns["problem"], kind="stable").astype(np.int32)
        numbers, firsts = np.unique(columns["problem"][order], return_index=True)
        owned = np.split(order, firsts[1:]) if len(numbers) else []
        self._rows_of = {n: array("i", rows.tobytes()) for n, rows in zip(numbers.tolist(), owned, strict=True)}
        self._row_of_key.rebuild(self.columns["key"], np.arange(len(self.columns)))
