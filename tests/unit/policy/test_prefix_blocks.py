"""Blocks of a packed row, by its pieces and by asking about every pair of columns."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl.policy.prefix.blocks import visible_blocks
from rrl.policy.prefix.flex import BLOCK, block_mask
from rrl.policy.prefix.groups import groups_of, tree_of
from rrl.types import sequences_of
from tests.unit.policy.small import start


def by_pairs(tree, block, window):
    seen = tree.visible(window)[0].numpy()
    num = len(seen) // block
    tiles = seen.reshape(num, block, num, block).transpose(0, 2, 1, 3)
    return tiles.any((2, 3)), tiles.all((2, 3))


def tree_from(groups, block):
    rows = [
        (start(prompt=tuple(range(1, length + 1)), max_response=99, name=str(i)), (2,) * own)
        for i, (length, continuations) in enumerate(groups) for own in continuations
    ]
    return tree_of(groups_of(sequences_of(rows), 0), one_row=True, multiple_of=block)


def test_the_example():
    some, whole = visible_blocks(tree_from([(3, (3, 2))], 2), 2, windowed=False)   # the last action is never read
    assert some.astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert whole.astype(int).tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0]]


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(1, 23), st.lists(st.integers(1, 19), min_size=1, max_size=5)), min_size=1, max_size=5
    ),
    st.sampled_from([2, 4, 8]), st.sampled_from([None, 3, 9]),
)
def test_they_are_those_of_all_pairs(groups, block, window):
    tree = tree_from([(n + i, own) for i, (n, own) in enumerate(groups)], block)
    some, whole = visible_blocks(tree, block, windowed=window is not None)
    true_some, true_whole = by_pairs(tree, block, window)
    assert not (whole & ~true_whole).any()
    assert not (true_some & ~some).any()
    if window is None:
        assert np.array_equal(some, true_some)


def test_few_blocks_that_are_seen_whole_are_missed():
    tree = tree_from([(200, (60,) * 8), (150, (90,) * 5)], 8)
    _, whole = visible_blocks(tree, 8, windowed=False)
    _, truth = by_pairs(tree, 8, None)
    assert whole.sum() > 0.98 * truth.sum()


@pytest.mark.parametrize("window", [None, 40])
def test_the_mask_is_torchs_own(window):
    from torch.nn.attention.flex_attention import create_mask

    tree = tree_from([(300, (60,) * 4), (100, (90, 1, 7))], BLOCK)
    ours = block_mask(tree, window, torch.device("cpu"))
    expected = tree.visible(window)[0]
    dense = create_mask(ours.mask_mod, 1, 1, *expected.shape, device="cpu")[0, 0]
    told = ours.to_dense()[0, 0].bool().repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    nothing = (tree.branch[0] < 0).nonzero()[:, 0]   # padding sees padding; visible has itself alone there
    for mask in (dense, expected):
        mask[nothing] = mask[:, nothing] = False
    assert torch.equal(dense, expected)
    assert not (expected & ~told).any()
