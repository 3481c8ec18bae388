"""What an environment says between sampled tokens, for engines: who hears what, and when.

An engine asks after every sampled token of an unfinished row; what it hears it reads as context. Legend: N
rows, M rows asked about, A sampled tokens (flat), B given tokens (flat).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from rrl.protocols import Environment
from rrl.types import Start, Tokens, given


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """observe(row, tokens): ids that the environment says after these tokens of the row, given ones marked.
    most: given tokens that a row may hear in all."""

    observe: Callable[[int, Tokens], Tokens]
    most: int


def observer_of(starts: Sequence[Start], task: object) -> Observer | None:
    """The observer of one row per start; None for a task that never says anything."""
    if not isinstance(task, Environment):
        return None
    observe = task.observe  # bound here: below, the type is known
    return Observer(
        observe=lambda row, tokens: observe(starts[row].problem, starts[row].prefix + tokens), most=task.max_given
    )


class Hearing:
    """Book of one ``sample`` call.

    Args:
      observer: None = silence.
      num_rows: N.
    """

    def __init__(self, observer: Observer | None, num_rows: int) -> None:
        self._observer = observer
        self._said: list[list[Tokens]] = [[] for _ in range(num_rows)]
        self._tokens: list[list[int]] = [[] for _ in range(num_rows)]

    @property
    def silent(self) -> bool:
        return self._observer is None

    def after(self, rows: Int64[Tensor, "M"], tokens: Int64[Tensor, "M"], going_on: Bool[Tensor, "M"]) -> list[Tokens]:
        """What each of ``rows`` hears after its new token; nothing where it does not go on.

        Raises:
          ValueError: the task says more than it promised.
        """
        if self._observer is None:
            return [()] * len(rows)
        heard = []
        for row, token, more in zip(rows.tolist(), tokens.tolist(), going_on.tolist(), strict=True):
            self._tokens[row].append(token)
            said = self._observer.observe(row, tuple(self._tokens[row])) if more else ()
            self._tokens[row].extend(given(said))
            self._said[row].append(said)
            if sum(len(s) for s in self._said[row]) > self._observer.most:
                most = self._observer.most
                raise ValueError(f"the task gave more than its max_given = {most} tokens in one response")
            heard.append(said)
        return heard

    def flat(self, counts: Int64[Tensor, "N"]) -> tuple[Int64[Tensor, "B"], Int64[Tensor, "A1"]]:
        """(given, given_offsets) of ``Sequences``, for rows of ``counts`` sampled tokens."""
        num_tokens = int(counts.sum())
        if self._observer is None:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(num_tokens + 1, dtype=torch.int64)
        said = [s for row, count in zip(self._said, counts.tolist(), strict=True) for s in row[:count]]
        lengths = torch.tensor([0, *(len(s) for s in said)], dtype=torch.int64)
        return torch.tensor([t for s in said for t in s], dtype=torch.int64), lengths.cumsum(0)
