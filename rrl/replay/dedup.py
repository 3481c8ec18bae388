"""Which stored states are beginnings or extensions of a proposal: near duplicates keep the shallower state."""

from __future__ import annotations

from collections.abc import Iterable

from rrl.replay.arena import as_int32
from rrl.replay.eviction import KEEP
from rrl.replay.shelf import Shelf


def relatives(shelf: Shelf, problem: int, tokens: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """(entries that ``tokens`` extends, entries that extend ``tokens``), equal ones left out.

    Example: stored [1], [1 2 3], [2]; tokens [1 2] -> ([1],), ([1 2 3],).
    """
    lengths, mine = shelf.columns["length"], as_int32(tokens)
    payload, ancestors, extensions = mine.tobytes(), [], []
    for row in shelf.alike(problem, mine):
        length = lengths[row]
        if length < len(tokens):
            if payload.startswith(shelf.tokens(row).tobytes()):
                ancestors.append(row)
        elif length > len(tokens) and shelf.tokens(row).tobytes().startswith(payload):
            extensions.append(row)
    return ancestors, extensions


def unconverted(shelf: Shelf, rows: Iterable[int]) -> list[int]:
    """Those of ``rows`` that passed their filters and were never solved from."""
    c = shelf.columns
    return [row for row in rows if c["status"][row] == KEEP and c["raw_conversions"][row] == 0]
