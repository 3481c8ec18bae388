"""Programming problems from tables of known formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from rrl.task.code.formats import FORMATS
from rrl.task.code.suites import first_tests
from rrl.task.data.holdout import held_out
from rrl.task.data.row import Bad, Row, Table
from rrl.task.data.sources import records

Format = Literal["apps", "mbpp", "humaneval"]


class CodeTables:
    """Rows of one or several sources (``rrl.task.data.sources``), whose fields a format names.

    Args:
      train, heldout: sources. Without held-out ones, ``num_heldout`` rows of the training sources are held out, chosen
        by a hash of their text: the same ones for every seed and every order of the rows.
      train_format, heldout_format: see ``rrl.task.code.formats``; the second is not read without held-out sources.
      max_tests: tests kept of each problem, the first ones; 0 = all.
      shown_tests: tests that a prompt of MBPP shows, >= 0; what is shown can be answered by heart.
      hard_levels: values of the difficulty (APPS) that count as hard; none = every row is hard.
    """

    def __init__(
        self, *, train: tuple[str, ...], heldout: tuple[str, ...], train_format: Format, heldout_format: Format,
        max_tests: int, shown_tests: int, hard_levels: tuple[str, ...],
    ) -> None:  # fmt: skip
        if not train:
            raise ValueError("task.data.train is empty; expected at least one file, pkg:// or hub:// source")
        if max_tests < 0 or shown_tests < 0:
            raise ValueError(f"task.data has max_tests {max_tests}, shown_tests {shown_tests}; expected both >= 0")
        self._train, self._heldout, self._formats = train, heldout, (train_format, heldout_format)
        self._max_tests, self._shown, self._hard_levels = max_tests, shown_tests, hard_levels

    def read(self, *, seed: int, num_train: int, num_heldout: int) -> tuple[Table, Table]:
        """See ``Data``. Raises ValueError where a source cannot be read or nothing says how much is held out."""
        del seed, num_train  # a table gives all it has; the task takes of it
        train = self._table(self._train, "task.data.train", self._formats[0])
        if self._heldout:
            return train, self._table(self._heldout, "task.data.heldout", self._formats[1])
        return held_out(train, num_heldout)

    def _table(self, sources: Sequence[str], key: str, name: Format) -> Table:
        table = Table(rows=[], bad=[])
        for source in sources:
            for where, content in records(source, key):
                if isinstance(content, str):
                    table.bad.append(Bad(where=where, why=content))
                    continue
                try:
                    table.rows.append(self._mended(FORMATS[name](where, content, self._shown)))
                except KeyError as error:
                    table.bad.append(Bad(where=where, why=f"has no field {error}; it has: {', '.join(content)}"))
                except (TypeError, ValueError, AttributeError) as error:
                    table.bad.append(Bad(where=where, why=f"cannot be read as {name}: {error}"))
        return table

    def _mended(self, row: Row) -> Row:
        suite, level = row.entry["suite"], row.entry["level"]
        if self._max_tests:
            suite = first_tests(suite, self._max_tests)
        return replace(row, entry={"suite": suite}, hard=not self._hard_levels or str(level) in self._hard_levels)
