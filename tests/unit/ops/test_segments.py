import torch

from rrl.ops import segments

VALUES = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
OFFSETS = torch.tensor([0, 2, 5])


def test_sums_and_means_are_per_row():
    assert segments.segment_sum(VALUES, OFFSETS).tolist() == [3.0, 12.0]
    assert segments.segment_mean(VALUES, OFFSETS).tolist() == [1.5, 4.0]


def test_an_empty_row_sums_to_zero():
    assert segments.segment_sum(VALUES, torch.tensor([0, 2, 2, 5])).tolist() == [3.0, 0.0, 12.0]


def test_first_last_row_and_position_name_the_same_tokens():
    assert segments.first_index(OFFSETS).tolist() == [0, 2]
    assert segments.last_index(OFFSETS).tolist() == [1, 4]
    assert segments.row_index(OFFSETS).tolist() == [0, 0, 1, 1, 1]
    assert segments.position_in_row(OFFSETS).tolist() == [0, 1, 0, 1, 2]


def test_the_gradient_of_a_row_sum_reaches_its_own_tokens_only():
    values = VALUES.clone().requires_grad_()
    segments.segment_sum(values, OFFSETS)[1].backward()
    assert values.grad.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
