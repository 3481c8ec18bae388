"""What is written of a store's problems: each one's payload once, and the answers that were found since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rrl.replay.arena import pack, unpack
from rrl.replay.problem_table import ProblemTable
from rrl.replay.segment_files import Put, as_bytes, from_bytes
from rrl.types import Tokens

_RAGGED, _TEXT = ("prompt", "solution", "stop"), ("answer", "task", "difficulty")
_FLAT = ("max_response", "exact_length")
_CHANGES, _SMALL = 16, 1 << 16  # files of changes to a whole one, and bytes of them, that are never too many


@dataclass(frozen=True, slots=True)
class _Known:
    """What the files up to some write say."""

    owners: frozenset[int] = frozenset()
    converted: Mapping[int, Tokens] = field(default_factory=dict)
    num_ids: int = 0


class _Pile:
    """Files that are laid over each other: a whole one, and what changed since.

    Changes are bounded in number, by writing those since the whole one as one file, and in bytes, by a new whole one.
    """

    def __init__(self) -> None:
        self.whole, self.changes = dict[int, int](), dict[int, int]()  # number -> bytes, in the order of writing

    @property
    def sizes(self) -> dict[int, int]:
        """Bytes of the files that count, by their numbers."""
        return self.whole | self.changes

    def next(self, whole_bytes: int) -> str:
        """What the next file has to be told relative to: "last" (save), "whole" or "nothing"; what it stands for goes.

        Args:
            whole_bytes: what a whole one would take now.
        """
        if not self.whole or sum(self.changes.values()) > max(whole_bytes, _SMALL):
            self.whole, self.changes = {}, {}
            return "nothing"
        if len(self.changes) >= _CHANGES:
            self.changes = {}
            return "whole"
        return "last"


class ProblemFiles:
    """Remembers what was written of a table at the last write and at the last whole one, and writes what was not."""

    def __init__(self) -> None:
        self.pile = _Pile()
        self._known = {"nothing": _Known()}

    def write(self, table: ProblemTable, owners: Sequence[int], put: Put) -> None:
        """Write what is new. ``owners``: numbers of the problems that own states."""
        since = self.pile.next(sum(self.pile.whole.values()))
        known = self._known[since]
        new = [number for number in owners if number not in known.owners]
        found = {n: t for n, t in table.converted.items() if known.converted.get(n) is not t}
        lost = [n for n in known.converted if n not in table.converted]
        ids = table.ids[known.num_ids :]
        now = _Known(known.owners.union(new), dict(table.converted), len(table))
        self._known["last"] = now
        if since == "nothing":
            self._known["whole"] = now
        if not (new or found or lost or ids):
            return
        payload = table.payload(new)
        arrays = {"ids": as_bytes(ids), "lost": np.array(lost, dtype=np.int64), "owners": payload["owners"],
                  "converted_of": np.array(list(found), dtype=np.int64), "text": as_bytes([payload[k] for k in _TEXT])}
        ragged = {"converted": pack(list(found.values()))} | {name: payload[name] for name in _RAGGED}
        arrays |= {f"{name}.{part}": array for name, packed in ragged.items() for part, array in packed.items()}
        arrays |= {name: payload[name] for name in _FLAT}
        files = self.pile.whole if since == "nothing" else self.pile.changes
        files[put("problems", arrays)] = sum(array.nbytes for array in arrays.values())


def problems_from(files: Sequence[dict[str, np.ndarray]], owners: Sequence[int]) -> dict[str, Any]:
    """What ``ProblemTable.state_dict`` gives, but for the columns, from all that was written of it, oldest first."""
    ids, converted, of = list[str](), dict[int, Tokens](), dict[int, tuple[Any, ...]]()
    for arrays in files:
        ids += from_bytes(arrays["ids"])
        for number in arrays["lost"].tolist():
            del converted[number]
        converted |= dict(zip(arrays["converted_of"].tolist(), _ragged(arrays, "converted"), strict=True))
        parts = [*(_ragged(arrays, name) for name in _RAGGED), *from_bytes(arrays["text"]),
                 *(arrays[name].tolist() for name in _FLAT)]  # fmt: skip
        of |= dict(zip(arrays["owners"].tolist(), zip(*parts, strict=True), strict=True))
    columns = {name: [of[n][i] for n in owners] for i, name in enumerate((*_RAGGED, *_TEXT, *_FLAT))}
    numbers = sorted(converted)
    return {
        "ids": ids, "converted_of": np.array(numbers, dtype=np.int64),
        "converted": pack([converted[n] for n in numbers]),
        "owners": np.array(owners, dtype=np.int64), **{name: pack(columns[name]) for name in _RAGGED},
        **{name: columns[name] for name in _TEXT},
        "max_response": np.array(columns["max_response"], dtype=np.int64),
        "exact_length": np.array(columns["exact_length"], dtype=bool),
    }  # fmt: skip


def _ragged(arrays: dict[str, np.ndarray], name: str) -> list[Tokens]:
    return unpack({"tokens": arrays[f"{name}.tokens"], "lengths": arrays[f"{name}.lengths"]})
