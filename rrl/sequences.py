"""Token rows that can be scored: what the policy did from each start, and what it was told in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from rrl.starts import Start, Tokens, given, plain, sampled


def rows_to_actions(offsets: Tensor, index: Tensor) -> Tensor:
    """Positions on axis A of the rows ``index``, in that order. [[0,2,3], rows (1,0)] -> (2, 0, 1)."""
    lengths = (offsets[1:] - offsets[:-1])[index]
    first = torch.repeat_interleave(offsets[index] - (lengths.cumsum(0) - lengths), lengths)
    return first + torch.arange(int(lengths.sum()), dtype=torch.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Token rows that can be scored: rollouts, lessons, demonstrations, exact evaluation.

    ``actions[offsets[i]:offsets[i + 1]]`` is what row i did from ``starts[start_index[i]]``. Every
    row has at least one action. A start's rows share its context, which is stored once.
    ``given[given_offsets[u]:given_offsets[u + 1]]`` is what the environment said after action u: context
    of the row's later actions, itself never an action, and nothing after a row's last action.
    """

    starts: tuple[Start, ...]
    start_index: Int64[Tensor, "N"]
    offsets: Int64[Tensor, "N1"]
    actions: Int64[Tensor, "A"]
    given: Int64[Tensor, "B"]
    given_offsets: Int64[Tensor, "A1"]

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.start_index) + 1 or int(self.offsets[0]) != 0:
            raise ValueError("Sequences.offsets must be [N + 1] and begin with 0")
        if len(self.start_index) and int((self.offsets[1:] - self.offsets[:-1]).min()) < 1:
            raise ValueError("Sequences.offsets: every row needs at least one action")
        if int(self.offsets[-1]) != len(self.actions):
            raise ValueError(
                f"Sequences.actions has {len(self.actions)} tokens; offsets end at {int(self.offsets[-1])}"
            )
        if len(self.given_offsets) != len(self.actions) + 1 or int(self.given_offsets[-1]) != len(self.given):
            raise ValueError(
                f"Sequences.given_offsets has {len(self.given_offsets)} numbers and ends at "
                f"{int(self.given_offsets[-1]) if len(self.given_offsets) else '-'}; expected {len(self.actions) + 1} "
                f"ending at {len(self.given)}"
            )
        last = self.offsets[1:] - 1
        if len(self.given) and not torch.equal(self.given_offsets[last], self.given_offsets[last + 1]):
            raise ValueError("Sequences.given: something is given after a row's last action, where nothing follows it")

    @property
    def num_rows(self) -> int:
        return len(self.start_index)

    @property
    def lengths(self) -> Int64[Tensor, "N"]:
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def row_of(self) -> Int64[Tensor, "A"]:
        """The row that each action belongs to."""
        return torch.repeat_interleave(torch.arange(self.num_rows), self.lengths)

    def start_of(self, row: int) -> Start:
        return self.starts[int(self.start_index[row])]

    def tokens_of(self, row: int) -> Tokens:
        """The row's tokens after its start, what was given among them marked."""
        first, last = int(self.offsets[row]), int(self.offsets[row + 1])
        actions: list[int] = self.actions[first:last].tolist()
        if not len(self.given):
            return tuple(actions)
        ends = self.given_offsets[first : last + 1].tolist()
        spoken = [given(self.given[a:b].tolist()) for a, b in zip(ends, ends[1:], strict=False)]
        return tuple(t for action, after in zip(actions, spoken, strict=True) for t in (action, *after))

    def all_tokens(self) -> list[Tokens]:
        """``tokens_of`` every row."""
        if len(self.given):
            return [self.tokens_of(i) for i in range(self.num_rows)]
        actions, offsets = self.actions.tolist(), self.offsets.tolist()
        return [tuple(actions[a:b]) for a, b in zip(offsets, offsets[1:], strict=False)]

    def rows(self, index: Int64[Tensor, "M"]) -> Sequences:
        """The rows ``index``, whole, in that order; unused starts are dropped."""
        return self.cut(index, rows_to_actions(self.offsets, index))

    def cut(self, index: Int64[Tensor, "M"], tokens: Int64[Tensor, "B"]) -> Sequences:
        """``rows`` for a caller that already has ``tokens``, their positions on axis A."""
        used, start_index = torch.unique(self.start_index[index], return_inverse=True)
        return Sequences(
            starts=tuple(self.starts[i] for i in used.tolist()),
            start_index=start_index,
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths[index].cumsum(0)]),
            actions=self.actions[tokens],
            **self._given_after(tokens),
        )

    def _given_after(self, tokens: Int64[Tensor, "B"]) -> dict[str, Tensor]:
        if not len(self.given):
            return {"given": self.given, "given_offsets": torch.zeros(len(tokens) + 1, dtype=torch.int64)}
        counts = (self.given_offsets[1:] - self.given_offsets[:-1])[tokens]
        return {
            "given": self.given[rows_to_actions(self.given_offsets, tokens)],
            "given_offsets": torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
        }


def sequences_of(rows: Sequence[tuple[Start, Sequence[int]]]) -> Sequences:
    """Sequences with one start per row, from (start, tokens) pairs; marked tokens become ``given``.

    What is given after a row's last action is left out: nothing that is scored could see it.
    """
    flat = [t for _, tokens in rows for t in tokens]
    marked = min(flat, default=0) < 0
    if marked:
        rows = [(start, _until_last_action(tokens)) for start, tokens in rows]
        flat = [t for _, tokens in rows for t in tokens]
    lengths = [len(sampled(tuple(tokens))) if marked else len(tokens) for _, tokens in rows]
    actions = torch.tensor([t for t in flat if t >= 0] if marked else flat, dtype=torch.int64)
    given_offsets = torch.zeros(len(actions) + 1, dtype=torch.int64)
    spoken: list[int] = []
    if marked:
        is_given = torch.tensor(flat) < 0
        after = (~is_given).cumsum(0)[is_given]  # the number, from 1, of the action that each one follows
        given_offsets = torch.bincount(after, minlength=len(actions) + 1).cumsum(0)
        spoken = list(plain(tuple(t for t in flat if t < 0)))
    return Sequences(
        starts=tuple(start for start, _ in rows),
        start_index=torch.arange(len(rows), dtype=torch.int64),
        offsets=torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0),
        actions=actions,
        given=torch.tensor(spoken, dtype=torch.int64),
        given_offsets=given_offsets,
    )


def _until_last_action(tokens: Sequence[int]) -> Sequence[int]:
    last = max((i for i, t in enumerate(tokens) if t >= 0), default=-1)
    if last >= 0 and tokens[0] < 0:
        raise ValueError("a row begins with a given token; expected it at the end of the start's prefix")
    return tokens[: last + 1]


def concat_sequences(parts: Sequence[Sequences]) -> Sequences:
    """All rows of all parts, in order."""
    shift = np.cumsum([0] + [len(p.starts) for p in parts])
    lengths = torch.cat([p.lengths for p in parts])
    counts = torch.cat([p.given_offsets[1:] - p.given_offsets[:-1] for p in parts])
    return Sequences(
        starts=tuple(s for p in parts for s in p.starts),
        start_index=torch.cat([p.start_index + int(k) for p, k in zip(parts, shift, strict=False)]),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        actions=torch.cat([p.actions for p in parts]),
        given=torch.cat([p.given for p in parts]),
        given_offsets=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
    )
