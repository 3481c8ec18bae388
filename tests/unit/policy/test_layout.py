import pytest
import torch

from rrl.policy import layout
from rrl.types import sequences_of
from tests.unit.policy.small import start

# Response of T = 4 tokens (11, 12, 13, 14) after the prompt (7, 8), replayed up to t tokens:
# t -> (ids the network reads, column of the state that predicts each sampled token).
OFF_BY_ONE = {
    0: ([7, 8, 11, 12, 13], [1, 2, 3, 4]),
    1: ([7, 8, 11, 12, 13], [2, 3, 4]),
    3: ([7, 8, 11, 12, 13], [4]),
}


@pytest.mark.parametrize("prefix_length", OFF_BY_ONE)
def test_each_action_is_predicted_by_the_state_one_column_before_it(prefix_length):
    response = (11, 12, 13, 14)
    begin = start(prompt=(7, 8), prefix=response[:prefix_length], max_response=4)
    read = layout.action_layout(sequences_of([(begin, response[prefix_length:])]), pad=0)
    ids, columns = OFF_BY_ONE[prefix_length]
    assert read.ids.tolist() == [ids]
    assert read.column.tolist() == columns
    assert read.row.tolist() == [0] * len(columns)


def test_rows_of_mixed_lengths_are_padded_on_the_right():
    replayed = start(prompt=(4,), prefix=(5,))
    rows = sequences_of([(start(prompt=(7, 8)), (1, 2)), (start(prompt=(9,)), (3,)), (replayed, (6, 1))])
    read = layout.action_layout(rows, pad=0)
    assert read.ids.tolist() == [[7, 8, 1], [9, 0, 0], [4, 5, 6]]
    assert read.mask.tolist() == [[True] * 3, [True, False, False], [True] * 3]
    assert list(zip(read.row.tolist(), read.column.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0), (2, 1), (2, 2)]


def test_gather_takes_the_named_states():
    read = layout.action_layout(sequences_of([(start(prompt=(7, 8)), (1, 2)), (start(prompt=(9,)), (3,))]), pad=0)
    states = torch.arange(6.0).view(2, 3, 1)
    assert read.gather(states)[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_split_keeps_the_wanted_states_and_trims_the_padding():
    rows = sequences_of([(start(prompt=(9,)), (3,)), (start(prompt=(7,)), (5, 6)), (start(prompt=(7, 8)), (1, 2))])
    first, second = layout.action_layout(rows, pad=0).split(2)
    assert first.ids.tolist() == [[9, 0], [7, 5]]
    assert (first.row.tolist(), first.column.tolist()) == ([0, 1, 1], [0, 0, 1])
    assert second.ids.tolist() == [[7, 8, 1]]
    assert (second.row.tolist(), second.column.tolist()) == ([0, 0], [1, 2])


def test_a_long_start_that_no_row_uses_costs_no_column():
    rows = sequences_of([(start(prompt=(9,)), (3,)), (start(prompt=(7,) * 9), (1,))])
    unused = type(rows)(
        starts=rows.starts, start_index=torch.tensor([0]), offsets=torch.tensor([0, 1]), actions=torch.tensor([3]),
        given=rows.given, given_offsets=torch.tensor([0, 0]),
    )
    assert layout.action_layout(unused, pad=0).ids.tolist() == [[9]]


def test_a_start_is_read_to_the_end_of_its_context():
    read = layout.start_layout([start(prompt=(7, 8)), start(prompt=(9,), prefix=(1, 2))], pad=0)
    assert read.ids.tolist() == [[7, 8, 0], [9, 1, 2]]
    assert (read.row.tolist(), read.column.tolist()) == ([0, 1], [1, 2])


def test_left_padding_counts_positions_from_the_first_real_token():
    ids, mask, positions = layout.pad_left([(7, 8, 9), (5,)], pad=0)
    assert ids.tolist() == [[7, 8, 9], [0, 0, 5]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_flatten_takes_each_rows_own_stretch():
    table = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert layout.flatten(table, torch.tensor([0, 1]), torch.tensor([1, 2])).tolist() == [1, 5, 6]
