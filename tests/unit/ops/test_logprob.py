import math

import pytest
import torch

from rrl_kernels.api import logprob_entropy
from rrl_kernels.logits import reference
from rrl_kernels.logits import torch_impl as kernel


def test_two_rows_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)], [5.0, 5.0]])  # p = (1/4, 3/4) and (1/2, 1/2)
    logprob, entropy = logprob_entropy(logits, torch.tensor([1, 0]), 1.0)
    torch.testing.assert_close(logprob, torch.tensor([math.log(0.75), math.log(0.5)]))
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    torch.testing.assert_close(entropy, torch.tensor([expected, math.log(2.0)]))


def test_temperature_divides_the_logits():
    logits = torch.tensor([[0.0, math.log(9.0)]])  # at T = 2: p = (1/4, 3/4)
    logprob, _ = logprob_entropy(logits, torch.tensor([0]), 2.0)
    torch.testing.assert_close(logprob, torch.tensor([math.log(0.25)]))


def test_gradients_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64, requires_grad=True)
    logprob, entropy = logprob_entropy(logits, torch.tensor([0]), 1.0)
    (grad,) = torch.autograd.grad(logprob.sum(), logits, retain_graph=True)
    torch.testing.assert_close(grad, torch.tensor([[0.75, -0.75]], dtype=torch.float64))  # onehot - p
    (grad,) = torch.autograd.grad(entropy.sum(), logits)
    slope = 0.25 * 0.75 * math.log(3.0)  # dH/dz_0 = -p_0 (log p_0 + H) = p_0 p_1 log(p_1 / p_0)
    torch.testing.assert_close(grad, torch.tensor([[slope, -slope]], dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_backward_is_the_derivative_of_forward(temperature):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    targets = torch.tensor([0, 6, 3, 3, 1])
    assert torch.autograd.gradcheck(lambda z: logprob_entropy(z, targets, temperature), (logits,))


@pytest.mark.parametrize("chunk_numbers", [1, 14, 1 << 22])
def test_any_chunking_equals_the_reference(monkeypatch, chunk_numbers):
    monkeypatch.setattr(kernel, "CHUNK_NUMBERS", chunk_numbers)
    generator = torch.Generator().manual_seed(1)
    ours = (3 * torch.randn(9, 7, dtype=torch.float64, generator=generator)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    targets = torch.arange(9) % 7
    weights = torch.randn(2, 9, dtype=torch.float64, generator=generator)
    for function, logits in ((logprob_entropy, ours), (reference.logprob_entropy, theirs)):
        logprob, entropy = function(logits, targets, 0.8)
        (weights[0] @ logprob + weights[1] @ entropy).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-13)


def test_a_forbidden_token_costs_no_nan():
    logits = torch.tensor([[0.0, -math.inf, 0.0]], requires_grad=True)
    logprob, entropy = logprob_entropy(logits, torch.tensor([2]), 1.0)
    (logprob + entropy).sum().backward()
    torch.testing.assert_close(entropy.detach(), torch.tensor([math.log(2.0)]))
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.5, 0.0, 0.5]]))


def test_bfloat16_logits_are_scored_in_float32():
    logits = torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16)
    logprob, _ = logprob_entropy(logits, torch.tensor([0]), 1.0)
    assert logprob.dtype == torch.float32
    assert logprob.item() == pytest.approx(-math.log(1.0 + math.e), abs=1e-6)


def test_no_rows_give_no_numbers():
    logprob, entropy = logprob_entropy(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), 1.0)
    assert logprob.tolist() == entropy.tolist() == []


@pytest.mark.parametrize(
    ("logits", "targets", "temperature", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), 0.0, "temperature is 0.0"),
        (torch.zeros(2, 3), torch.zeros(2, dtype=torch.int32), 1.0, "targets has (dtype|shape)"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), 1.0, "targets has (dtype|shape)"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), 1.0, r"expected \[C, V\]"),
    ],
)
def test_what_does_not_fit_is_refused(logits, targets, temperature, message):
    from rrl_kernels import api

    with pytest.raises(ValueError, match=message):
        api.logprob_entropy(logits, targets, temperature)
