"""The source of truth: one JSON object a record in ``metrics.jsonl``, handed to the system whole, line by line.

Reports read this file and nothing else. A resumed run cuts it back to its checkpoint, so a file
never tells a step twice; a torn last line of a killed run is cut as well. What a full disk refuses is kept and
written later; a checkpoint waits until every line before it is on the disk.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrl import durable
from rrl.reading import json_of
from rrl.records import Progress
from rrl.types import Metrics

log = logging.getLogger(__name__)


class Jsonl:
    """Writes ``<output_dir>/metrics.jsonl`` and ``<output_dir>/tables/<name>.jsonl``.

    Args:
      output_dir: the run's folder.
      max_table_rows: rows a table keeps, the first ones given; >= 1.
    Raises:
      ValueError: max_table_rows below 1.
    """

    def __init__(self, *, output_dir: Path, max_table_rows: int) -> None:
        if max_table_rows < 1:
            raise ValueError(f"tracker.jsonl.max_table_rows is {max_table_rows}; expected >= 1")
        self._folder = output_dir
        self._max_table_rows = max_table_rows
        self._file: int | None = None
        self._waiting = b""
        self._resumed = False
        self._shortened: set[str] = set()

    def log(self, progress: Progress, metrics: Metrics) -> None:
        """Append one line: where the run stands, then the metrics by name."""
        where = {"progress/step": progress.step, "progress/sampled_tokens": progress.sampled_tokens}
        self._waiting += json.dumps({**where, **metrics}, allow_nan=False).encode() + b"\n"
        self._write()

    def sync(self) -> None:
        """Wait until every line is on the disk. Raises OSError where the disk is full or fails, or the file is gone."""
        if self._file is not None:
            self._write()
            os.fsync(self._file)
            if not os.fstat(self._file).st_nlink:  # written on, it would be lost with our process
                raise FileNotFoundError(f"{self._folder / 'metrics.jsonl'} was removed while the run wrote it")

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Replace the table ``name``; written beside and renamed, so a reader never sees half of one."""
        if len(rows) > self._max_table_rows and name not in self._shortened:
            self._shortened.add(name)
            log.warning(
                "table %s has %d rows; the first %d are kept (tracker.jsonl.max_table_rows; said once)",
                name,
                len(rows),
                self._max_table_rows,
            )
        path = self._folder / "tables" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_text(path, "".join(json.dumps(row) + "\n" for row in rows[: self._max_table_rows]))

    def artifact(self, path: Path, kind: str) -> None:
        """Nothing to do: artifacts already stand in the run's folder."""

    def resume_at(self, step: int) -> None:
        """Cut the file after the record of ``step``, which the checkpoint has already seen."""
        self._resumed = True
        path = self._folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        steps = [_step_of(line, otherwise=step + 1) for line in lines]
        kept = [line for line, at in zip(lines, steps, strict=True) if at <= step]
        told = {at for at in steps if at <= step}
        first = min(told, default=step)
        if missing := [at for at in range(first, step + 1) if at not in told]:
            log.warning("%s has no records of steps %d to %d: the checkpoint at step %d is newer than its file",
                        path, missing[0], missing[-1], step)  # fmt: skip
        if lines:
            durable.write_text(path, "".join(line + "\n" for line in kept))

    def close(self, status: str) -> None:  # noqa: ARG002  (the summary holds the status)
        """Close the file; every line is on disk already."""
        if self._file is not None:
            try:
                self.sync()
            finally:
                os.close(self._file)
                self._file = None

    def _write(self) -> None:
        """Hand over what is waiting. A disk that fills up may take a part: the rest waits for the next line."""
        file = self._open()
        while self._waiting:
            self._waiting = self._waiting[os.write(file, self._waiting) :]

    def _open(self) -> int:
        if self._file is None:
            path = self._folder / "metrics.jsonl"
            if not self._resumed and path.is_file() and path.stat().st_size:
                _set_aside(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._resumed = True  # whoever opens it again within this run appends
        return self._file


def _step_of(line: str, otherwise: int) -> int:
    """The step of a record; ``otherwise`` for a line that a kill tore apart."""
    try:
        return int(json_of(line)["progress/step"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return otherwise


def _set_aside(path: Path) -> None:
    """A new run in the folder of an old one: its lines must not mix with ours, nor be lost."""
    number = 1
    while (old := path.with_name(f"metrics.old{number}.jsonl")).exists():
        number += 1
    path.rename(old)
    log.warning("%s belonged to an earlier run; it is now %s", path, old.name)
