"""Who does which rows, and what one process does without others."""

from __future__ import annotations

import pytest
import torch

from rrl.ranks import Ranks


class Alone(Ranks):
    """Rank ``rank`` of ``size``, without a process group: for what needs no exchange."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size, self._opened = rank, size, False


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
