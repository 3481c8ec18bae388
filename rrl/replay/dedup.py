"""Which stored states are beginnings or extensions of a proposal: near duplicates keep the shallower state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from rrl.replay.eviction import KEEP
from rrl.replay.shelf import Shelf


class Relatives(NamedTuple):
    """Entries that a proposal extends, and entries that extend it; equal ones left out."""

    ancestors: list[int]
    extensions: list[int]


def relatives(shelf: Shelf, problems: list[int], tokens: np.ndarray, lengths: np.ndarray) -> dict[int, Relatives]:
    """Relatives of the proposals that have any, by the proposal's place.

    Example: stored [1], [1 2 3], [2] of problem 0; problems [0], tokens [1 2] -> {0: ([1],), ([1 2 3],)}.

    Args:
        problems: of each proposal.
        tokens: of all proposals, end to end.  lengths: >= 1 each.
    """
    found = dict[int, Relatives]()
    rows, counts = shelf.rows_of_many(problems)
    of, starts = np.repeat(np.arange(len(problems)), counts), np.cumsum(lengths) - lengths
    own, theirs = lengths[of], shelf.columns["length"][rows]
    other = np.flatnonzero(own != theirs)  # of one length they are equal, and known by their key, or no relatives
    rows, of, own, theirs = rows[other], of[other], own[other], theirs[other]
    last = np.minimum(own, theirs) - 1  # the same token where the shorter of the two ends: few, whom to look at
    alike = np.flatnonzero(shelf.tokens_at(rows, last) == tokens[starts[of] + last])
    for row, place in zip(rows[alike].tolist(), of[alike].tolist(), strict=True):
        mine, stored = tokens[starts[place] : starts[place] + lengths[place]], shelf.tokens(row)
        both = min(len(mine), len(stored))
        if np.array_equal(mine[:both], stored[:both]):
            one = found.setdefault(place, Relatives([], []))
            (one.ancestors if len(stored) < len(mine) else one.extensions).append(row)
    return found


def unconverted(shelf: Shelf, rows: Iterable[int]) -> list[int]:
    """Those of ``rows`` that passed their filters and were never solved from."""
    c = shelf.columns
    return [row for row in rows if c["status"][row] == KEEP and c["raw_conversions"][row] == 0]
