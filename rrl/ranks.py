"""How many processes train together, and the few words they exchange. One process: no-ops.

Starts are dealt out in contiguous runs, so global row numbers (and with them the noise) do not
depend on how many ranks there are; sums of losses are normalised by global counts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import ParamSpec, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

T = TypeVar("T")
P = ParamSpec("P")

_NOTES_S = 5.0  # patience with a store whose host may be what hangs
_MOST_CHARS = 300  # of another rank's last words
_GONE = ("closed", "reset", "broken pipe", "refused", "no route", "unreachable")  # how sockets say that nobody is there


class RanksLost(ConnectionError):
    """Another rank has ended or hangs. Nobody goes on alone: what this rank did since the last checkpoint is lost."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h: not this rank's own failure


class Ranks:
    """The group of processes that ``torchrun`` started, or this process alone."""

    def __init__(self, *, timeout_s: int | float | None = None) -> None:
        """Join the others.

        Args:
          timeout_s: seconds that a rank waits for the others before it takes one for lost, > 0; None = torch's own.
        Raises:
          ValueError: timeout_s is no such number.
          RanksLost: the others did not come in time.
        """
        if timeout_s is not None and not (type(timeout_s) in (int, float) and 0 < timeout_s < float("inf")):
            raise ValueError(f"run.ranks_timeout_s is {timeout_s!r}; expected a number of seconds > 0")
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self._opened = self.size > 1 and not dist.is_initialized()
        self._timeout_s, self._store = timeout_s, cast(PrefixStore | None, None)
        if self._opened:
            timeout = dist.default_pg_timeout if timeout_s is None else timedelta(seconds=timeout_s)
            with self._exchange("the beginning"):
                store = next(rendezvous("env://", timeout=timeout))[0]
                store.set_timeout(timeout)
                self._store = PrefixStore("rrl", store)
                dist.init_process_group(_backend(), store=store, rank=self.rank, world_size=self.size, timeout=timeout)

    @classmethod
    def alone(cls) -> Ranks:
        """This process by itself, whatever started it: every verb is local."""
        ranks = cls.__new__(cls)
        ranks.size, ranks.rank, ranks._opened = 1, 0, False
        ranks._timeout_s = ranks._store = None
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
        with self._exchange("a gathering"):
            dist.all_gather_object(parts, items)
        return [x for part in parts if part is not None for x in part]

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        with self._exchange("a word of rank 0"):
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
        with self._exchange("a sum"):
            dist.all_reduce(total)
        return [float(x) for x in total]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up ``.grad`` over ranks; a parameter without one counts as zero."""
        if self.size == 1:
            return
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            with self._exchange("a sum of gradients"):
                dist.all_reduce(p.grad)

    def agree(self, what: str, value: str) -> None:
        """Refuse to go on where ranks differ. Raises ValueError on every rank, with the values of two of them."""
        values = self.gather([value])
        if other := [rank for rank, theirs in enumerate(values) if theirs != values[0]]:
            raise ValueError(f"{what} is {values[0]} on rank 0 and {values[other[0]]} on rank {other[0]}; "
                             "expected the same on every rank")  # fmt: skip

    def close(self, why: str = "") -> None:
        """Leave the group. why: what went wrong here, for those who are left; "" = nothing."""
        store = self._store
        if why and store is not None:
            _patiently(lambda: store.set(str(self.rank), why[:_MOST_CHARS]))
            self._store = None
        if self._opened and dist.is_initialized():
            dist.destroy_process_group()

    @contextmanager
    def _exchange(self, what: str) -> Iterator[None]:
        """Raises RanksLost where torch cannot reach another rank."""
        try:
            yield
        except RuntimeError as error:
            text = str(error).lower()
            waited = "timed out" in text or "timeout" in text
            patience = f"{self._timeout_s:g} s " if self._timeout_s is not None else ""
            said = "; ".join(self._last_words())
            if waited:
                why = f"waited {patience}for another rank at {what} (run.ranks_timeout_s)"
                said = said or "it hangs, or is slower than that"
            else:
                why = f"lost another rank at {what}"
                gone = any(word in text for word in _GONE)
                left = "it left no word: killed, out of memory, or its machine is gone"
                said = said or (left if gone else f"torch says: {str(error).splitlines()[0][:_MOST_CHARS]}")
                self._store = None  # its host may be who was lost; a word of ours would be of no use
            raise RanksLost(f"rank {self.rank} {why}: {said}") from error

    def _last_words(self) -> list[str]:
        """What the ranks that have left said; nothing where nobody did, or who keeps it is gone, too."""
        said, store = list[str](), self._store

        def read() -> None:
            for rank in range(self.size):
                if store is not None and rank != self.rank and store.check([str(rank)]):
                    said.append(f"rank {rank}: {store.get(str(rank)).decode(errors='replace')}")

        _patiently(read)
        return list(said)


def _patiently(ask: Callable[[], None]) -> None:
    """Ask the store for a while only: a host that hangs never answers, one that is gone raises."""

    def run() -> None:
        with suppress(RuntimeError):
            ask()

    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(_NOTES_S)


def _backend() -> str:
    """Numbers and words on CPUs; gradients where they are."""
    if not torch.cuda.is_available():
        return "gloo"
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return "cpu:gloo,cuda:nccl"
