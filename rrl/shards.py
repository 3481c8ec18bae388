"""A JSONL file that grows by whole shards: what a stopped job left half-written is cut off, and it goes on from there.

A shard is ``shard_size`` lines (the last one may be shorter), written in one go and synced to disk. So a file read back
holds a beginning of the whole, and appending the shards that are missing gives the bytes of a job that never stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrl.reading import json_of


class Shards:
    """The shards of one file.

    Args:
      path: the file; need not exist.
      num_lines: lines of the finished file, >= 1.
      shard_size: lines a shard, >= 1.
    Raises:
      ValueError: the file holds more lines than ``num_lines``.
    """

    def __init__(self, path: Path, *, num_lines: int, shard_size: int) -> None:
        self._path, self._num_lines, self._shard_size = path, num_lines, shard_size
        whole = _whole_lines(path)
        if len(whole) > num_lines:
            raise ValueError(f"{str(path)!r} has {len(whole)} lines; expected at most {num_lines} of one job")
        self.done = len(whole) if len(whole) == num_lines else len(whole) // shard_size * shard_size
        """Lines of whole shards, from the first on."""
        kept = b"".join(whole[: self.done])
        if path.is_file() and path.stat().st_size != len(kept):
            beside = path.with_name(path.name + ".tmp")
            beside.write_bytes(kept)
            beside.replace(path)

    def missing(self) -> list[tuple[int, int]]:
        """[first, last) lines of every shard still to be written. 5 lines by 2, 2 done -> [(2, 4), (4, 5)]."""
        firsts = range(self.done, self._num_lines, self._shard_size)
        return [(first, min(first + self._shard_size, self._num_lines)) for first in firsts]

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the next shard; it is on the disk when this returns."""
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        with open(self._path, "ab") as file:
            file.write(text.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        self.done += len(rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, a torn last line left out; none where there is no file.

    Raises:
      ValueError: a line is not a JSON object, named by its number.
    """
    rows = []
    for number, line in enumerate(_whole_lines(path), start=1):
        try:
            row = json_of(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise ValueError(f"{str(path)!r} line {number} is not a JSON object ({error})") from error
        rows.append(row)
    return rows


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` beside ``path`` and rename it into place: a reader sees the old file or the new one."""
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(json.dumps(value, indent=2, allow_nan=False))
    beside.replace(path)


def _whole_lines(path: Path) -> list[bytes]:
    """Lines that end; what stands behind the last line's end was being written when its writer was killed."""
    if not path.is_file():
        return []
    return [line + b"\n" for line in path.read_bytes().split(b"\n")[:-1]]
