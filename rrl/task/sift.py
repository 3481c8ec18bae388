"""Which rows a text task may use: bad ones are named and counted, repeated and held-out ones dropped."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from rrl.task.data.row import Bad, Row, Table

log = logging.getLogger(__name__)

_SHOWN = 5  # bad rows that a message quotes; the record has all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """train, heldout: usable rows with their number in the source.  bad: what was wrong with others.
    dropped: how many usable rows were left out, by reason."""

    train: list[tuple[int, Row]]
    heldout: list[tuple[int, Row]]
    bad: list[Bad]
    dropped: Counter[str] = field(default_factory=Counter)


def sift(train: Table, heldout: Table, flaw: Callable[[Row], str]) -> Sifted:
    """Rows without a flaw, no prompt twice, and no training row whose prompt is held out.

    Prompts are compared without case and white space. Held-out rows win: a training row gives way.

    Args:
      flaw: why a row cannot be used, "" where it can; asked once for each distinct prompt.
    """
    sifted = Sifted(train=[], heldout=[], bad=[*train.bad, *heldout.bad])
    held: set[bytes] = set()
    for number, row in enumerate(heldout.rows):
        _take(number, row, flaw, held, sifted.heldout, sifted)
    seen: set[bytes] = set()
    for number, row in enumerate(train.rows):
        if _name(row) in held:
            sifted.dropped["training prompt that is also held out"] += 1
        else:
            _take(number, row, flaw, seen, sifted.train, sifted)
    return sifted


def refuse_or_say(task: str, sifted: Sifted, bad_rows: Literal["refuse", "skip"]) -> None:
    """Say in the log what was left out.

    Raises:
      ValueError: there are bad rows and ``bad_rows`` is "refuse"; or nothing is left of a split.
    """
    quoted = "; ".join(f"{bad.where} {bad.why}" for bad in sifted.bad[:_SHOWN])
    more = f"; and {len(sifted.bad) - _SHOWN} more" if len(sifted.bad) > _SHOWN else ""
    told = f"{len(sifted.bad)} bad rows: {quoted}{more}"
    if sifted.bad and bad_rows == "refuse":
        raise ValueError(f"task {task!r} has {told}. Mend them, or leave them out with task.bad_rows=skip")
    if sifted.bad:
        log.warning("task %s: skipped %s (all of them in data.json)", task, told)
    for why, count in sifted.dropped.items():
        log.warning("task %s: %d x %s, left out", task, count, why)
    for split, rows in (("training", sifted.train), ("held-out", sifted.heldout)):
        if not rows:
            left_out = ", ".join(f"{count} x {why}" for why, count in sifted.dropped.items())
            why = "; ".join(filter(None, [told if sifted.bad else "", left_out])) or "its sources hold no rows"
            raise ValueError(f"task {task!r} has no usable {split} problem ({why})")


def record_of(task: str, sifted: Sifted) -> dict[str, Any]:
    """What was read and what was left out, every bad row named: the content of ``data.json``."""
    return {
        "task": task, "train_rows": len(sifted.train), "heldout_rows": len(sifted.heldout),
        "bad_rows": [{"where": bad.where, "why": bad.why} for bad in sifted.bad], "left_out": dict(sifted.dropped),
    }  # fmt: skip


def _take(
    number: int, row: Row, flaw: Callable[[Row], str], seen: set[bytes], taken: list[tuple[int, Row]], sifted: Sifted
) -> None:
    name = _name(row)
    if name in seen:
        sifted.dropped["prompt that stands there twice"] += 1
        return
    seen.add(name)
    if why := flaw(row):
        sifted.bad.append(Bad(where=row.where, why=why))
    else:
        taken.append((number, row))


def _name(row: Row) -> bytes:
    return hashlib.blake2b(" ".join(row.prompt.casefold().split()).encode(), digest_size=16).digest()
