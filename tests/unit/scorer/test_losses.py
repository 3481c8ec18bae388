"""Losses of reward models by hand, and against autograd's own logic."""

import math

import pytest
import torch

from rrl.scorer.losses import bradley_terry_loss, logistic_loss


def test_bradley_terry_by_hand() -> None:
    # leads of 1 and -2: log(1 + e^-1) = .3133, log(1 + e^2) = 2.1269; mean 1.2201
    loss = bradley_terry_loss(torch.tensor([1.5, -1.0]), torch.tensor([0.5, 1.0]))
    assert float(loss) == pytest.approx((0.313262 + 2.126928) / 2, abs=1e-5)
    assert float(bradley_terry_loss(torch.zeros(3), torch.zeros(3))) == pytest.approx(math.log(2.0))


def test_bradley_terry_pushes_the_chosen_up_and_the_rejected_down_by_the_probability_of_being_wrong() -> None:
    chosen, rejected = torch.tensor([0.0], requires_grad=True), torch.tensor([0.0], requires_grad=True)
    bradley_terry_loss(chosen, rejected).backward()
    assert chosen.grad is not None and rejected.grad is not None
    assert float(chosen.grad) == pytest.approx(-0.5) and float(rejected.grad) == pytest.approx(0.5)


def test_bradley_terry_sees_differences_only_and_stays_finite_far_out() -> None:
    chosen, rejected = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 2.0])
    shifted = bradley_terry_loss(chosen + 7.0, rejected + 7.0)
    assert float(shifted) == pytest.approx(float(bradley_terry_loss(chosen, rejected)), abs=1e-5)
    assert float(bradley_terry_loss(torch.tensor([-500.0]), torch.tensor([500.0]))) == pytest.approx(1000.0)


def test_logistic_by_hand() -> None:
    # log-odds 2 of a positive: log(1 + e^-2) = .1269; 1 of a negative: log(1 + e^1) = 1.3133
    loss = logistic_loss(torch.tensor([2.0, 1.0]), torch.tensor([True, False]))
    assert float(loss) == pytest.approx((0.126928 + 1.313262) / 2, abs=1e-5)
    target = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert float(loss) == pytest.approx(float(target))
