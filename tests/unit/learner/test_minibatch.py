"""Dealing rows to mini-batches: every row once an epoch, whoever holds it."""

import numpy as np
import torch

from rrl import rng
from rrl.ops.minibatch import cuts, minibatches
from tests.unit.learner.tabular import SoloRanks, ThreadRanks


class FixedOrder:
    def __init__(self, order):
        self._order = order

    def permutation(self, num):
        assert num == len(self._order)
        return np.array(self._order)


def seeded(epoch, stream):
    return rng.generator(0, "test", epoch, stream)


def test_four_rows_are_cut_where_the_docstring_says():
    lengths = [torch.tensor([1, 2, 3, 4])]
    first, second = minibatches(
        lengths, ranks=SoloRanks(), epochs=1, num=2, generator=lambda e, s: FixedOrder([2, 0, 3, 1])
    )
    assert first[0].rows.tolist() == [0, 2]
    assert (first[0].num_rows, first[0].num_tokens, first[0].total_rows) == (2, 4, 4)
    assert second[0].rows.tolist() == [1, 3]
    assert second[0].num_tokens == 6


def test_each_epoch_uses_every_row_of_every_stream_once():
    lengths = [torch.ones(7, dtype=torch.int64), torch.ones(3, dtype=torch.int64)]
    batches = list(minibatches(lengths, ranks=SoloRanks(), epochs=2, num=2, generator=seeded))
    assert len(batches) == 4
    for epoch in (batches[:2], batches[2:]):
        for stream, num in ((0, 7), (1, 3)):
            assert sorted(r for parts in epoch for r in parts[stream].rows.tolist()) == list(range(num))


def test_a_minibatch_without_rows_is_left_out():
    lengths = [torch.tensor([5]), torch.zeros(0, dtype=torch.int64)]
    batches = list(minibatches(lengths, ranks=SoloRanks(), epochs=3, num=2, generator=seeded))
    assert [parts[0].num_rows for parts in batches] == [1, 1, 1]


def test_two_ranks_hold_what_one_would():
    fresh, replayed = torch.arange(1, 8), torch.arange(1, 4)
    whole = list(minibatches([fresh, replayed], ranks=SoloRanks(), epochs=1, num=2, generator=seeded))
    # rank 0: five fresh rows; rank 1: two fresh and all the replayed ones
    halves = ThreadRanks.together([
        lambda ranks, mine=mine: list(minibatches(mine, ranks=ranks, epochs=1, num=2, generator=seeded))
        for mine in ([fresh[:5], replayed[:0]], [fresh[5:], replayed])
    ])
    for one, left, right in zip(whole, *halves, strict=True):
        for s in range(2):
            merged = [int(r) + p.first_row for p in (left[s], right[s]) for r in p.rows]
            assert merged == one[s].rows.tolist()
            assert left[s].num_tokens == right[s].num_tokens == one[s].num_tokens


def test_whole_starts_are_dealt_where_they_are_asked_for():
    # Starts 0 0 1 2 1 in the order (1, 2, 0): rows 2 4 3 0 1, cut behind the second.
    first, second = minibatches(
        [torch.tensor([1, 2, 3, 4, 5])], ranks=SoloRanks(), epochs=1, num=2,
        generator=lambda e, s: FixedOrder([1, 2, 0]), together=[torch.tensor([0, 0, 1, 2, 1])],
    )
    assert (first[0].rows.tolist(), second[0].rows.tolist()) == ([2, 4], [0, 1, 3])
    assert (first[0].num_tokens, second[0].num_tokens) == (8, 7)


def test_a_cut_splits_at_most_one_start_and_every_row_is_dealt_once():
    start = torch.arange(12).repeat_interleave(4)
    batches = list(minibatches(
        [torch.ones(48, dtype=torch.int64), start[:0]], ranks=SoloRanks(), epochs=3, num=5, generator=seeded,
        together=[start, start[:0]],
    ))
    for epoch in range(3):
        parts = [parts[0].rows for parts in batches[5 * epoch : 5 * epoch + 5]]
        assert sorted(r for rows in parts for r in rows.tolist()) == list(range(48))
        assert sum(len(set(start[rows].tolist())) for rows in parts) <= 12 + 4
    assert batches[0][0].rows.tolist() != batches[5][0].rows.tolist()


def test_starts_of_two_ranks_are_dealt_as_those_of_one():
    start = torch.arange(6).repeat_interleave(2)
    whole = list(minibatches(
        [torch.ones(12, dtype=torch.int64)], ranks=SoloRanks(), epochs=1, num=3, generator=seeded, together=[start]
    ))
    halves = ThreadRanks.together([
        lambda ranks, mine=mine: list(minibatches(
            [torch.ones(6, dtype=torch.int64)], ranks=ranks, epochs=1, num=3, generator=seeded, together=[mine]
        ))
        for mine in (start[:6], start[:6])   # each rank counts its own starts from 0
    ])
    for one, left, right in zip(whole, *halves, strict=True):
        assert [int(r) + p.first_row for p in (left[0], right[0]) for r in p.rows] == one[0].rows.tolist()


def test_parts_end_where_groups_do_and_only_a_group_too_large_is_cut():
    assert cuts([2, 3, 2, 9], 5) == [(0, 5), (5, 7), (7, 12), (12, 16)]
    assert cuts([1, 1, 1], 2) == [(0, 2), (2, 3)]
    assert cuts([4], 4) == [(0, 4)] and cuts([], 4) == []
