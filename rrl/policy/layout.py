"""From token rows to the rectangles a network reads: the only place with a mask or padding.

A row is context (prompt and prefix), then actions, with what the environment said between them. A
decoder's hidden state at column j predicts the token at column j + 1, so action u of a row with c
context tokens is predicted by the state at column c - 1 + u + (tokens given before u), and the last
action is never read. Legend: S starts, N rows, T columns, A sampled tokens (flat), K wanted states.

Rows are padded on the *right*: with causal attention no real token can see the padding, so the
training forward needs no mask. Sampling with a cache wants all rows to end in the same column and
pads on the left. Rows end to end, without padding, are ``rrl.policy.prefix.packing``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from rrl.ops.segments import position_in_row, row_index
from rrl.types import Sequences, Start, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What one forward reads, and which of its hidden states are wanted.

    ids: token ids, padded on the right.  positions: of the columns, the same for every row.
    lengths: real tokens a row.  row, column: where the wanted states stand, rows ascending.
    restarts: positions do, in its only row, which holds many (``rrl.policy.prefix.packing``); the network has to be
    told them, and given no mask.
    """

    ids: Int64[Tensor, "N T"]
    positions: Int64[Tensor, "T"]
    lengths: Int64[Tensor, "N"]
    row: Int64[Tensor, "K"]
    column: Int64[Tensor, "K"]
    restarts: bool = False

    @property
    def mask(self) -> Bool[Tensor, "N T"]:
        """True at real tokens, for networks that insist on a mask."""
        return self.positions < self.lengths[:, None]

    def gather(self, hidden: Shaped[Tensor, "N T d"]) -> Shaped[Tensor, "K d"]:
        """The wanted states, in order."""
        flat = self.row * self.ids.shape[1] + self.column
        return hidden.flatten(0, 1).index_select(0, flat.to(hidden.device))

    def split(self, num_rows: int) -> list[Layout]:
        """Parts of at most ``num_rows`` rows, each only as wide as its own longest row, in order."""
        if len(self.ids) <= num_rows:
            return [self]
        parts = []
        for first in range(0, len(self.ids), num_rows):
            last = min(first + num_rows, len(self.ids))
            width = int(self.lengths[first:last].max())
            begin, end = torch.searchsorted(self.row, torch.tensor([first, last])).tolist()
            parts.append(Layout(
                ids=self.ids[first:last, :width], positions=self.positions[:width], lengths=self.lengths[first:last],
                row=self.row[begin:end] - first, column=self.column[begin:end],
            ))
        return parts


def action_layout(sequences: Sequences, pad: int) -> Layout:
    """Every action's predicting state.

    Contexts (7, 8) and (9,) with actions (1, 2) and (3,), pad 0: the network reads
    [[7, 8, 1], [9, 0, 0]]; the wanted states are (row 0, column 1), (0, 2), (1, 0).
    """
    contexts, context_lengths = pad_right([start.context for start in sequences.starts], pad)
    before = context_lengths[sequences.start_index]
    row = row_index(sequences.offsets)
    u = position_in_row(sequences.offsets)
    if len(sequences.given):
        heard = sequences.given_offsets[:-1]
        u = u + heard - heard[sequences.offsets[:-1]][row]
    lengths = before + u[sequences.offsets[1:] - 1]
    width = int(lengths.max())
    ids = torch.full((sequences.num_rows, width), pad, dtype=torch.int64)
    narrow = min(width, contexts.shape[1])  # a start that no row uses may be longer than all rows
    ids[:, :narrow] = contexts[sequences.start_index, :narrow]
    read = torch.ones_like(row, dtype=torch.bool)
    read[sequences.offsets[1:] - 1] = False
    ids[row[read], (before[row] + u)[read]] = sequences.actions[read]
    if len(sequences.given):
        after = row_index(sequences.given_offsets)  # the action that each given token follows
        ids[row[after], (before[row] + u)[after] + 1 + position_in_row(sequences.given_offsets)] = sequences.given
    return Layout(ids=ids, positions=torch.arange(width), lengths=lengths, row=row, column=before[row] - 1 + u)


def start_layout(starts: Sequence[Start], pad: int) -> Layout:
    """Every start's last context state: the one that predicts its first action."""
    ids, lengths = pad_right([start.context for start in starts], pad)
    positions, row = torch.arange(ids.shape[1]), torch.arange(len(starts))
    return Layout(ids=ids, positions=positions, lengths=lengths, row=row, column=lengths - 1)


def pad_right(rows: Sequence[Tokens], pad: int) -> tuple[Int64[Tensor, "N C"], Int64[Tensor, "N"]]:
    """(ids, lengths). (7, 8), (9,) with pad 0 -> [[7, 8], [9, 0]], (2, 1)."""
    lengths = [len(row) for row in rows]
    # numpy reads a tuple ten times as fast as torch does, which before a forward is time that a GPU waits.
    ids = np.full((len(rows), max(lengths)), pad, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : lengths[i]] = row
    return torch.from_numpy(ids), torch.tensor(lengths, dtype=torch.int64)


def pad_left(
    rows: Sequence[Tokens], pad: int
) -> tuple[Int64[Tensor, "N C"], Int64[Tensor, "N C"], Int64[Tensor, "N C"]]:
    """(ids, attention mask, positions). (7, 8), (9,), pad 0 -> [[7, 8], [0, 9]], [[1, 1], [0, 1]], [[0, 1], [0, 0]]."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([(pad,) * (width - len(row)) + row for row in rows], dtype=torch.int64)
    first = torch.tensor([width - len(row) for row in rows])[:, None]
    columns = torch.arange(width)
    return ids, (columns >= first).long(), (columns - first).clamp(min=0)


def flatten(
    table: Shaped[Tensor, "N T"], first: Int64[Tensor, "N"], counts: Int64[Tensor, "N"]
) -> Shaped[Tensor, "A"]:
    """Columns first[i] .. first[i] + counts[i] of each row, rows end to end.

    [[1, 2, 3], [4, 5, 6]], first (0, 1), counts (1, 2) -> (1, 5, 6).
    """
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    row = row_index(offsets)
    return table[row, first[row] + position_in_row(offsets)]
