"""Problems from tables: which fields hold what, and what is held out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from rrl.task.data.holdout import held_out
from rrl.task.data.row import Bad, Row, Table
from rrl.task.data.sources import records
from rrl.task.grade.marks import BOXED, last_boxed


class Tables:
    """Rows of one or several sources (``rrl.task.data.sources``) by the names of their fields.

    A field may be a path: ``reward_model.ground_truth``, ``prompt.0.content``.

    Args:
      train, heldout: sources. Without held-out ones, ``num_heldout`` rows of the training sources are held out, chosen
        by a hash of their text: the same ones for every seed and every order of the rows.
      prompt, answer: fields.
      solution: field of a worked solution; null = none.
      answer_after: the answer is what follows the last one of this mark in its field ("####"), or what its last
        \\boxed{} holds ("boxed"); null = the whole field.
      remove: regular expression of what is taken out of solutions (calculator annotations); null = nothing.
      level: field of the difficulty; null = every row is hard.
      hard_levels: values of that field, as text, that count as hard.
    """

    def __init__(
        self, *, train: tuple[str, ...], heldout: tuple[str, ...], prompt: str, answer: str, solution: str | None,
        answer_after: str | None, remove: str | None, level: str | None, hard_levels: tuple[str, ...],
    ) -> None:
        if not train:
            raise ValueError("task.data.train is empty; expected at least one file, pkg:// or hub:// source")
        if (level is None) != (not hard_levels):
            raise ValueError(f"task.data.level is {level!r} with hard_levels {hard_levels}; expected both or neither")
        try:
            self._remove = None if remove is None else re.compile(remove)
        except re.error as error:
            raise ValueError(f"task.data.remove is {remove!r}; expected a regular expression: {error}") from error
        self._train, self._heldout, self._fields = train, heldout, (prompt, answer, solution, level)
        self._answer_after, self._hard_levels = answer_after, hard_levels

    def read(self, *, seed: int, num_train: int, num_heldout: int) -> tuple[Table, Table]:
        """See ``Data``. Raises ValueError where a source cannot be read or nothing says how much is held out."""
        del seed, num_train  # a table gives all it has; the task takes of it
        train = self._table(self._train, "task.data.train")
        if self._heldout:
            return train, self._table(self._heldout, "task.data.heldout")
        return held_out(train, num_heldout)

    def _table(self, sources: Sequence[str], key: str) -> Table:
        table = Table(rows=[], bad=[])
        for source in sources:
            for where, content in records(source, key):
                row = content if isinstance(content, str) else self._row(where, content)
                if isinstance(row, str):
                    table.bad.append(Bad(where=where, why=row))
                else:
                    table.rows.append(row)
        return table

    def _row(self, where: str, content: dict[str, Any]) -> Row | str:
        prompt, answer, solution, level = self._fields
        try:
            text, gold = _text(content, prompt), _text(content, answer)
            worked = None if solution is None else _text(content, solution)
            hard = level is None or _text(content, level) in self._hard_levels
        except LookupError as error:
            return str(error.args[0])
        mark = self._answer_after
        if mark == BOXED:
            boxed = last_boxed(gold)
            if boxed is None:
                return f"holds no \\boxed{{}} in {answer!r}"
            gold = boxed
        elif mark is not None:
            if mark not in gold:
                return f"holds no {mark!r} in {answer!r}"
            gold = gold.rpartition(mark)[2]
            if worked is not None and mark in worked:
                worked = worked.rpartition(mark)[0]
        if worked is not None and self._remove is not None:
            worked = self._remove.sub("", worked)
        return Row(
            where=where, prompt=text.strip(), answer=gold.strip(), hard=hard, entry={},
            solution=(worked or "").strip() or None,
        )


def _text(content: Any, path: str) -> str:
    """The value at a dotted path, as text. Raises LookupError with the reason."""
    found = content
    for part in path.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise LookupError(f"has no field {path!r}; it has: {', '.join(map(str, content)) or '-'}")
    if isinstance(found, bool) or not isinstance(found, (str, int, float)):
        raise LookupError(f"has a {type(found).__name__} in {path!r}; expected text or a number")
    if isinstance(found, float) and not math.isfinite(found):
        raise LookupError(f"has {found} in {path!r}; expected text or a finite number")
    text = str(found)
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # JSON may write half a pair; no encoding holds it
        raise LookupError(f"has half a character in {path!r}; expected whole Unicode text")
    return text
