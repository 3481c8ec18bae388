"""KL estimators: numbers by hand, derivatives by autograd."""

import math

import pytest
import torch

from rrl.ops.kl import ESTIMATORS, k1, k2, k3

P, Q = torch.tensor([math.log(0.5)], dtype=torch.float64), torch.tensor([math.log(0.25)], dtype=torch.float64)


def test_one_token_of_probability_a_half_against_a_quarter():
    log2 = math.log(2.0)
    assert k1(P, Q)[0].item() == pytest.approx(log2)
    assert k2(P, Q)[0].item() == pytest.approx(log2**2 / 2)
    assert k3(P, Q)[0].item() == pytest.approx(0.5 - 1 + log2)  # q/p - 1 - log(q/p), q/p = 1/2


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_the_derivative_is_autograds(name):
    logprob = P.clone().requires_grad_()
    value, derivative = ESTIMATORS[name](logprob, Q)
    (by_autograd,) = torch.autograd.grad(value.sum(), logprob)
    torch.testing.assert_close(derivative.detach(), by_autograd)


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_the_mean_over_p_is_the_divergence(name):
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    exact = (p * (p / q).log()).sum()
    torch.testing.assert_close((p * ESTIMATORS[name](p.log(), q.log())[0]).sum(), exact)


def test_as_a_loss_k2_has_the_divergences_gradient_and_k1_has_none():
    logits, q = torch.tensor([0.3, -1.0, 0.5], requires_grad=True), torch.tensor([0.2, 0.2, 0.6])
    p = logits.softmax(0)
    (want,) = torch.autograd.grad((p * (p / q).log()).sum(), logits)
    weights = logits.softmax(0).detach()
    for estimator, expected in ((k1, torch.zeros(3)), (k2, want)):
        logprob = logits.log_softmax(0)
        _, slope = estimator(logprob.detach(), q.log())
        (got,) = torch.autograd.grad((weights * slope * logprob).sum(), logits)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
