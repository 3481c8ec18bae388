"""Who does which rows, and what one process does without others."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rrl.ranks import Ranks, RanksLost
from tests.faults.ranks import free_port


class Alone(Ranks):
    """Rank ``rank`` of ``size``, without a process group: for what needs no exchange."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size, self._opened, self._store, self._timeout_s = rank, size, False, None, None


@pytest.mark.parametrize(
    ("num", "size", "expected"),
    [
        (7, 2, [(0, 3), (3, 7)]), (8, 2, [(0, 4), (4, 8)]), (2, 3, [(0, 0), (0, 1), (1, 2)]), (0, 2, [(0, 0), (0, 0)]),
        (5, 1, [(0, 5)]),
    ],
)  # fmt: skip
def test_items_are_dealt_out_in_contiguous_runs_that_leave_none_out(
    num: int, size: int, expected: list[tuple[int, int]]
) -> None:
    ranks = [Alone(r, size) for r in range(size)]
    assert [r.bounds(num) for r in ranks] == expected
    assert [x for r in ranks for x in r.shard(range(num))] == list(range(num))


def test_one_process_exchanges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    ranks = Ranks()
    assert (ranks.size, ranks.rank, ranks.is_main) == (1, 0, True)
    assert ranks.gather([1, 2]) == [1, 2] and ranks.broadcast("x") == "x" and ranks.sum([1, 2.5]) == [1.0, 2.5]
    assert ranks.on_main(lambda a, b: a - b, 3, b=1) == 2
    weight = torch.nn.Parameter(torch.ones(2))
    ranks.sum_gradients([weight])
    assert weight.grad is None
    ranks.close()


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_patience_that_is_no_number_of_seconds_is_refused_by_its_key(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="run.ranks_timeout_s is .*; expected a number of seconds > 0"):
        Ranks(timeout_s=timeout_s)


# ------------------------------------------------------------------------------------------ two processes


def in_two_ranks(folder: Path, work: Callable[[Ranks], str], *, timeout_s: float = 2.0) -> list[str]:
    """What ``work`` returned in each, or the RanksLost or ValueError it raised; "" for one that was killed."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            os.environ.update(shared | {"RANK": str(rank)})
            ranks, said = Ranks(timeout_s=timeout_s), ""
            try:
                said = work(ranks)
            except (RanksLost, ValueError) as error:
                said = f"{type(error).__name__}: {error}"
            (folder / f"said_{rank}").write_text(said)
            ranks.close()
            os._exit(0)
        children.append(child)
    os.waitpid(children[0], 0)
    if os.waitpid(children[1], os.WNOHANG) == (0, 0):
        time.sleep(1.0)
        if os.waitpid(children[1], os.WNOHANG) == (0, 0):
            os.kill(children[1], signal.SIGKILL)  # it was stopped on purpose
            os.waitpid(children[1], 0)
    return [path.read_text() if path.is_file() else "" for path in (folder / "said_0", folder / "said_1")]


def test_what_two_ranks_exchange(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> str:
        mine = ranks.rank + 1
        weight = torch.nn.Parameter(torch.zeros(2))
        weight.grad = torch.full((2,), float(mine))
        ranks.sum_gradients([weight])
        ranks.agree("the number", "7")
        return f"{ranks.gather([mine])} {ranks.broadcast(mine)} {ranks.sum([mine, 0.5])} {weight.grad.tolist()}"

    assert in_two_ranks(tmp_path, work) == ["[1, 2] 1 [3.0, 1.0] [3.0, 3.0]"] * 2


def test_ranks_that_differ_are_refused_on_both_with_both_values(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> str:
        ranks.agree("the checkpoint to go on from", f"step_{ranks.rank}")
        return "went on"

    assert in_two_ranks(tmp_path, work) == [
        "ValueError: the checkpoint to go on from is step_0 on rank 0 and step_1 on rank 1; expected the same on every "
        "rank"
    ] * 2


def test_a_rank_that_was_killed_is_missed_at_once(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> str:
        if ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return str(ranks.sum([1.0]))

    said, nothing = in_two_ranks(tmp_path, work, timeout_s=60.0)
    assert nothing == "" and said == (
        "RanksLost: rank 0 lost another rank at a sum: it left no word: killed, out of memory, or its machine is gone"
    )


def test_a_rank_that_failed_has_said_why(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> str:
        if ranks.rank == 1:
            ranks.close("TypeError: a bug")
            return "left"
        return str(ranks.gather([1]))

    assert in_two_ranks(tmp_path, work, timeout_s=60.0) == [
        "RanksLost: rank 0 lost another rank at a gathering: rank 1: TypeError: a bug", "left",
    ]


def test_a_rank_that_hangs_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> str:
        if ranks.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        begin = time.monotonic()
        try:
            ranks.broadcast(1) if ranks.rank else ranks.sum([1.0])
        finally:
            (tmp_path / "waited").write_text(str(time.monotonic() - begin))
        return "went on"

    said, _ = in_two_ranks(tmp_path, work, timeout_s=1.0)
    assert said == (
        "RanksLost: rank 0 waited 1 s for another rank at a sum (run.ranks_timeout_s): it hangs, or is slower than that"
    )
    assert 0.9 < float((tmp_path / "waited").read_text()) < 20.0


def test_what_is_no_loss_is_told_in_torchs_words() -> None:
    told = "rank 1 lost another rank at a sum: torch says: tensors of two lengths$"
    with pytest.raises(RanksLost, match=told), Alone(1, 2)._exchange("a sum"):
        raise RuntimeError("tensors of two lengths\nand a trace")
