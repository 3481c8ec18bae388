"""How many processes train together, and the few words they exchange. One process: no-ops.

Starts are dealt out in contiguous runs, so global row numbers (and with them the noise) do not
depend on how many ranks there are; sums of losses are normalised by global counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar, cast

import torch
import torch.distributed as dist

T = TypeVar("T")
P = ParamSpec("P")


class Ranks:
    """The group of processes that ``torchrun`` started, or this process alone."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self._opened = self.size > 1 and not dist.is_initialized()
        if self._opened:
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    @classmethod
    def alone(cls) -> Ranks:
        """This process by itself, whatever started it: every verb is local."""
        ranks = cls.__new__(cls)
        ranks.size, ranks.rank, ranks._opened = 1, 0, False
        return ranks

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def bounds(self, num: int) -> tuple[int, int]:
        """This rank's [first, last) of ``num`` items."""
        return self.rank * num // self.size, (self.rank + 1) * num // self.size

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        first, last = self.bounds(len(items))
        return items[first:last]

    def gather(self, items: list[T]) -> list[T]:
        """All ranks' items in rank order, on every rank."""
        if self.size == 1:
            return items
        parts: list[list[T] | None] = [None] * self.size
        dist.all_gather_object(parts, items)
        return [x for part in parts if part is not None for x in part]

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def on_main(self, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``compute(*args, **kwargs)`` on rank 0 only, its value on every rank."""
        return self.broadcast(compute(*args, **kwargs)) if self.is_main else self.broadcast(cast(T, None))

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Element-wise sum over ranks, in float64."""
        if self.size == 1:
            return [float(x) for x in numbers]
        total = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(total)
        return [float(x) for x in total]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up ``.grad`` over ranks; a parameter without one counts as zero."""
        if self.size == 1:
            return
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            dist.all_reduce(p.grad)

    def close(self) -> None:
        if self._opened and dist.is_initialized():
            dist.destroy_process_group()
