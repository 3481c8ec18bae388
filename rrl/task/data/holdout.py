"""Which rows of a table are held out where nothing else was given for that."""

from __future__ import annotations

import hashlib

from rrl.task.data.row import Table


def held_out(table: Table, num_heldout: int) -> tuple[Table, Table]:
    """(training rows, held-out rows), chosen by a hash of the prompt: the same for every seed and order of the rows.

    Equal prompts, whatever their case and spaces, have equal hashes and so stand side by side in that order.

    Args:
      table: all rows; its bad ones go with the training rows.
      num_heldout: 1..rows - 1.
    Raises:
      ValueError: another number.
    """
    if not 1 <= num_heldout < len(table.rows):
        raise ValueError(
            f"task.num_heldout is {num_heldout} without task.data.heldout; expected 1..{len(table.rows) - 1} rows "
            "to hold out of the training ones"
        )
    order = sorted(range(len(table.rows)), key=lambda i: (_hash(table.rows[i].prompt), i))
    held = set(order[:num_heldout])
    kept = [row for i, row in enumerate(table.rows) if i not in held]
    return Table(rows=kept, bad=table.bad), Table(rows=[table.rows[i] for i in sorted(held)], bad=[])


def _hash(text: str) -> bytes:
    return hashlib.blake2b(" ".join(text.casefold().split()).encode(), digest_size=8).digest()
