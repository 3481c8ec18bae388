"""Entries as numpy columns, their tokens in one arena, and two indices: by problem and by key. No taste here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rrl.replay.arena import Arena
from rrl.replay.columns import Columns
from rrl.replay.eviction import KEEP, QUARANTINE
from rrl.replay.key_index import KeyIndex
from rrl.types import sampled

COLUMNS = {
    "key": "<u8",  # prefix_key as a number
    "problem": "<i8",  # its number in the problem table
    "origin": "|i1",  # index into store.ORIGINS
    "parent": "<u8",  # key of the start it was cut from
    "offset": "<i8",  # of its tokens in the arena
    "length": "<i4",  # of its tokens in the arena, given ones included
    "depth": "<i8",  # sampled tokens
    "depth_frac": "<f8",  # depth over the sampled tokens of the response it was cut from
    "born_step": "<i8",
    "born_frac": "<f8",  # share of the token budget used when stored
    "born_value": "<f8",  # P(solved) when stored
    "value": "<f8",  # P(solved) when last re-scored
    "value_std": "<f8",
    "score_step": "<i8",  # of the last re-scoring
    "td": "<f8",  # surprise on the last way from it, see surprise.py
    "tries": "<f8",  # decayed n
    "conversions": "<f8",  # decayed c
    "raw_tries": "<i4",  # undecayed, for reports and credit caps
    "raw_conversions": "<i4",
    "fails_in_a_row": "<i4",
    "naps": "<i8",  # in a row, without a conversion between them
    "sleep_until": "<i8",  # last step of the nap
    "last_used": "<i8",  # step of the last replay, or of storing
    "status": "|i1",  # eviction.KEEP or QUARANTINE
    "parent_reward": "<f8",  # score of the attempt it was cut from
}


class Shelf:
    """Rows with tokens. Row numbers are stable while an entry lives and mean nothing after a reload."""

    def __init__(self) -> None:
        self.columns = Columns(COLUMNS)
        self._arena = Arena()
        self._rows_of: dict[int, list[int]] = {}
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

    def rows_of(self, problem: int) -> list[int]:
        """Entries of a problem number, oldest first."""
        return self._rows_of.get(problem, [])

    def all_rows(self) -> np.ndarray:
        """All entries, by problem number and age: an order that survives a reload."""
        return np.array([row for p in self.problems for row in self._rows_of[p]], dtype=np.int64)

    def tokens(self, row: int) -> np.ndarray:
        return self._arena.read(int(self.columns["offset"][row]), int(self.columns["length"][row]))

    def token_rows(self, rows: np.ndarray) -> list[tuple[int, ...]]:
        """Tokens of many entries, in one gather."""
        lengths = self.columns["length"][rows]
        flat = self.flat_tokens(rows).tolist()
        ends = np.cumsum(lengths).tolist()
        return [tuple(flat[first:end]) for first, end in zip([0, *ends], ends, strict=False)]

    def flat_tokens(self, rows: np.ndarray) -> np.ndarray:
        """Tokens of many entries, end to end."""
        return self._arena.gather(self.columns["offset"][rows], self.columns["length"][rows])

    def alike(self, problem: int, tokens: np.ndarray) -> list[int]:
        """Entries of a problem that have the same token where the shorter of the two ends: few, whom to look at."""
        rows = np.array(self.rows_of(problem), dtype=np.int64)
        if not len(rows) or not len(tokens):
            return self.rows_of(problem)
        last = np.minimum(self.columns["length"][rows], len(tokens)) - 1
        same = self._arena.at(self.columns["offset"][rows] + last) == tokens[last]
        alike: list[int] = rows[same].tolist()
        return alike

    def insert(self, values: Mapping[str, float | int | bool], tokens: tuple[int, ...]) -> int:
        """A new entry; ``values`` holds every column but the offset, length and depth of its tokens."""
        place = {"offset": self._arena.append(tokens), "length": len(tokens), "depth": len(sampled(tokens))}
        row = self.columns.add({**values, **place})
        self._rows_of.setdefault(int(values["problem"]), []).append(row)
        self._row_of_key.insert(int(values["key"]), row, self.columns["key"], self.columns.alive)
        return row

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
        self._rows_of = {}
        for row, number in enumerate(columns["problem"].tolist()):
            self._rows_of.setdefault(number, []).append(row)
        self._row_of_key.rebuild(self.columns["key"], np.arange(len(self.columns)))
