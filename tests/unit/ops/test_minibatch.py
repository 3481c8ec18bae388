"""How a mini-batch is cut into forwards."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rrl.ops.minibatch import cuts, cuts_of
from rrl.types import given as heard
from rrl.types import sequences_of
from tests.unit.policy.small import start


def rows_of(groups):
    """(context length, (actions of each row)) of each start."""
    rows = []
    for number, (context, lengths) in enumerate(groups):
        begin = start(prompt=(1,) * context, max_response=99, name=str(number))
        rows += [(begin, (2,) * n) for n in lengths]
    return joined(sequences_of(rows))


def joined(whole):
    """One start for all rows of it, as rollouts have them."""
    first = {id(s): i for i, s in reversed(list(enumerate(whole.starts)))}
    return replace(whole, start_index=torch.tensor([first[id(s)] for s in whole.starts]))


def test_the_example():
    rows = rows_of([(5, (2, 2, 2)), (5, (4,))])
    assert cuts_of(rows, most_rows=0, most_tokens=10) == [(0, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize(("most_rows", "most_tokens", "expected"), [
    (0, 0, [(0, 5)]),
    (2, 0, [(0, 2), (2, 3), (3, 5)]),      # a start of three is cut; the next is not, to fill what is left of it
    (0, 3 + 6 + 3 + 2, [(0, 5)]),
    (0, 13, [(0, 3), (3, 5)]),             # a start begins a part of its own rather than being cut
    (0, 1, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
    (1, 100, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
])
def test_by_hand(most_rows, most_tokens, expected):
    rows = rows_of([(3, (2, 2, 2)), (3, (1, 1))])   # 3 + 6 and 3 + 2 tokens
    assert cuts_of(rows, most_rows=most_rows, most_tokens=most_tokens) == expected


def test_what_a_row_hears_counts():
    begin = start(prompt=(1, 1, 1), max_response=99)
    rows = joined(sequences_of([(begin, (2, *heard((4, 4, 4)), 2)), (begin, (2,))]))
    assert cuts_of(rows, most_rows=0, most_tokens=9) == [(0, 2)]
    assert cuts_of(rows, most_rows=0, most_tokens=8) == [(0, 1), (1, 2)]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(1, 5), min_size=1, max_size=5)), min_size=1, max_size=6),
    st.integers(0, 7), st.integers(0, 30),
)
def test_parts_are_within_their_limits_in_order_and_whole(groups, most_rows, most_tokens):
    rows = rows_of(groups)
    parts = cuts_of(rows, most_rows=most_rows, most_tokens=most_tokens)
    assert [i for a, b in parts for i in range(a, b)] == list(range(rows.num_rows))
    for a, b in parts:
        assert not most_rows or b - a <= most_rows
        contexts = {int(s) for s in rows.start_index[a:b]}
        tokens = sum(len(rows.starts[s].context) for s in contexts) + int(rows.lengths[a:b].sum())
        assert not most_tokens or tokens <= most_tokens or b - a == 1
    if not most_tokens:
        assert parts == cuts([len(lengths) for _, lengths in groups], most_rows or rows.num_rows)
