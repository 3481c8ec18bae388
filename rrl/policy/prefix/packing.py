"""Whole rows laid end to end instead of padded to one width: nothing is computed for padding.

Positions restart at every row. Without a mask, transformers takes that for packed sequences: FlashAttention gets the
rows' lengths, sdpa and eager a mask in which no row sees another. The second costs the square of all tokens, so
``auto`` packs for FlashAttention alone. Legend: as in ``rrl.policy.layout``.
"""

from __future__ import annotations

from typing import Any

import torch

from rrl.policy.layout import Layout
from rrl.policy.prefix.flex import attention_of
from rrl.policy.prefix.refusals import inseparable

CHOICES = ("auto", "always", "never")


def packs(decoder: Any, choice: str) -> bool:
    """Whether this decoder's rows are packed under ``policy.packing``.

    Raises:
      ValueError: ``always`` was asked for, and a layer carries a state from one row into the next.
    """
    if choice != "always":
        return choice == "auto" and attention_of(decoder).startswith("flash_attention")
    reason = inseparable(decoder)
    if reason is not None:
        raise ValueError(f"policy.packing is always, but {reason}; expected auto or never")
    return True


def packed(layout: Layout) -> Layout:
    """The same rows in one.

    Rows (7, 8, 1) and (9,), padded: ids (7, 8, 1, 9), positions (0, 1, 2, 0); a state wanted at (row 1, column 0)
    stands in column 3.
    """
    inside = layout.mask
    first = layout.lengths.cumsum(0) - layout.lengths
    return Layout(
        ids=layout.ids[inside][None], positions=layout.positions.expand_as(inside)[inside],
        lengths=layout.lengths.sum()[None], row=torch.zeros_like(layout.row), column=first[layout.row] + layout.column,
        restarts=True,
    )
