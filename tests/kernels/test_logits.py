"""Log-probability, entropy and their gradient from logits, in torch: precision, edges, masks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl_kernels import api, dispatch
from rrl_kernels.logits import torch_impl
from tests.kernels.rows import chosen, numbers, peaked, relative, truth, worst

# (tolerance of log-probability and entropy in nats, of the gradient as a share of its norm); half precision is read
# exactly, so only its gradient, which is stored in it, is coarser.
TOLERANCE = {
    torch.float64: (1e-12, 1e-12), torch.float32: (1e-5, 1e-5), torch.float16: (1e-5, 5e-4),
    torch.bfloat16: (1e-5, 4e-3),
}


@pytest.fixture(params=["torch", "reference"])
def implementation(request, monkeypatch):
    monkeypatch.setattr(dispatch, "_chosen", request.param)
    return request.param


def scored(logits, targets, upstream, **options):
    """What ``truth`` gives, from the operation under test."""
    leaf = logits.detach().requires_grad_()
    logprob, entropy = api.logprob_entropy(leaf, targets, **options)
    (grad,) = torch.autograd.grad((logprob, entropy), leaf, [x.to(logprob) for x in upstream])
    return logprob.detach(), entropy.detach(), grad


def check(logits, targets, *, slack=1.0, **options):
    upstream = numbers(len(logits), seed=8), numbers(len(logits), seed=9)
    mine, exact = scored(logits, targets, upstream, **options), truth(logits, targets, upstream=upstream, **options)
    nats, share = TOLERANCE[logits.dtype]
    assert worst(mine[0], exact[0]) <= nats and worst(mine[1], exact[1]) <= nats
    assert relative(mine[2], exact[2]) <= share * slack
    assert mine[2].dtype == logits.dtype and mine[0].dtype == mine[1].dtype
    assert mine[0].dtype == (torch.float64 if logits.dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("vocab_size", [1, 2, 7, 1000, 1537])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.6}, {"softcap": 5.0}, {"temperature": 1.3, "softcap": 30.0}])
def test_equals_float64_on_the_same_numbers(implementation, dtype, vocab_size, options):
    logits = numbers(9, vocab_size, std=4.0, dtype=dtype)
    if vocab_size > 1:
        check(logits, chosen(9, vocab_size), **options)
    else:  # one class: nothing to choose, nothing to learn
        logprob, entropy, grad = scored(logits, chosen(9, 1), (torch.ones(9), torch.ones(9)), **options)
        assert not logprob.any() and not entropy.any() and not grad.any()


@pytest.mark.parametrize("shift", [0.0, -50.0, -1e3, 1e3])
@pytest.mark.parametrize("vocab_size", [131, 1000])  # no multiple of any block: a lane outside must add nothing
def test_a_peaked_row_keeps_its_numbers_wherever_the_logits_lie(implementation, shift, vocab_size):
    logits, targets = peaked(6, vocab_size, 0.999)
    check((logits + shift).float(), targets, slack=10.0 if implementation == "reference" else 1.0)  # autograd cancels


def test_a_constant_added_to_all_logits_changes_nothing(implementation):
    # Multiples of 2^-3 plus 512 are exact in float32, so even the rounding must be the same.
    logits = (numbers(5, 37, std=8.0) * 8).round().float() / 8
    upstream = torch.ones(5), torch.ones(5)
    one, other = (scored(x, chosen(5, 37), upstream) for x in (logits, logits - 512.0))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("p", [0.9, 0.99, 0.999])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_the_targets_own_gradient_is_a_difference_taken_before_rounding(implementation, dtype, p):
    # d log p / d z[y] = 1 - p: a bfloat16 p of 0.999 is 1, which would leave nothing.
    logits, targets = peaked(8, 1000, p, dtype)
    upstream = torch.ones(8), torch.zeros(8)
    mine, exact = scored(logits, targets, upstream)[2], truth(logits, targets, upstream=upstream)[2]
    at = targets[:, None]
    assert ((mine.double().gather(1, at) / exact.gather(1, at)) - 1).abs().max() <= 5e-3
    assert relative(mine, exact) <= 5e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_forward_and_backward_use_the_same_probability_at_logits_of_80(implementation, dtype):
    logits = (numbers(16, 300).sign() * 80 + numbers(16, 300, seed=4, std=3.0)).to(dtype)
    targets = logits.float().argmax(1)
    logprob, _, grad = scored(logits, targets, (torch.ones(16), torch.zeros(16)))
    backward_p = 1.0 - grad.double().gather(1, targets[:, None])[:, 0]
    assert worst(backward_p, logprob.double().exp()) <= (1e-5 if dtype == torch.float32 else 4e-3)


def test_the_error_is_at_most_that_of_torchs_own_softmax_in_the_same_precision():
    for seed, std in ((0, 1.0), (1, 4.0), (2, 20.0)):
        logits, targets = numbers(32, 5000, seed=seed, std=std).float(), chosen(32, 5000)
        exact, _, _ = truth(logits, targets)
        theirs = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]
        mine, _ = api.logprob_entropy(logits, targets)
        assert worst(mine, exact) <= worst(theirs, exact) + 1e-6 * max(1.0, std)


def test_a_logit_of_minus_infinity_has_no_probability_and_no_gradient(implementation):
    logits = numbers(4, 9).float()
    logits[:, ::2] = -math.inf
    logits[3, 1:] = -math.inf  # one class left
    logits[3, 0] = 2.0
    targets = torch.tensor([1, 3, 5, 0])
    logprob, entropy, grad = scored(logits, targets, (torch.ones(4), torch.ones(4)))
    assert (logprob[3], entropy[3]) == (0.0, 0.0) and not grad[3].any()
    assert not grad[:3, ::2].any() and grad.isfinite().all()
    kept = logits[:3, 1::2]
    exact = truth(kept, (targets[:3] - 1) // 2, upstream=(torch.ones(3), torch.ones(3)))
    assert worst(logprob[:3], exact[0]) <= 1e-6 and worst(grad[:3, 1::2], exact[2]) <= 1e-6


def test_masked_rows_are_not_read_give_zero_and_have_no_gradient(implementation):
    logits, targets = numbers(7, 11).float(), chosen(7, 11)
    mask = torch.tensor([True, False, True, True, False, False, True])
    logits[~mask], targets[~mask] = math.nan, -100
    upstream = torch.ones(7), torch.full((7,), 0.5)
    logprob, entropy, grad = scored(logits, targets, upstream, mask=mask)
    assert not logprob[~mask].any() and not entropy[~mask].any() and not grad[~mask].any()
    exact = truth(logits[mask], targets[mask], upstream=[x[mask] for x in upstream])
    for mine, theirs in zip((logprob, entropy, grad), exact, strict=True):
        assert worst(mine[mask], theirs) <= 1e-6


@pytest.mark.parametrize(("num_rows", "masked"), [(0, False), (0, True), (1, False), (1, True), (5, True)])
def test_no_row_one_row_and_all_rows_masked(implementation, num_rows, masked):
    logits, targets = numbers(num_rows, 6).float(), chosen(num_rows, 6)
    mask = torch.zeros(num_rows, dtype=torch.bool) if masked else None
    upstream = torch.ones(num_rows), torch.ones(num_rows)
    logprob, entropy, grad = scored(logits, targets, upstream, mask=mask)
    assert logprob.shape == entropy.shape == (num_rows,) and grad.shape == (num_rows, 6)
    assert bool(grad.any()) == (num_rows == 1 and not masked)


@pytest.mark.parametrize("layout", ["transposed", "sliced", "every second column", "expanded"])
def test_any_layout_is_read_as_it_looks(implementation, layout):
    wide = numbers(12, 34).float()
    logits = {
        "transposed": wide.t()[:9], "sliced": wide[2:, 3:20], "every second column": wide[:, ::2],
        "expanded": wide[:1].expand(5, -1),
    }[layout]
    targets = chosen(2 * logits.shape[0], logits.shape[1])[::2]
    check(logits, targets)
    leaf = wide.clone().requires_grad_()  # and the gradient finds its way back through the view
    view = {"transposed": lambda x: x.t()[:9], "sliced": lambda x: x[2:, 3:20],
            "every second column": lambda x: x[:, ::2], "expanded": lambda x: x[:1].expand(5, -1)}[layout]
    api.logprob_entropy(view(leaf), targets)[0].sum().backward()
    again = wide.double().requires_grad_()
    torch.log_softmax(view(again), -1).gather(1, targets[:, None]).sum().backward()
    assert worst(leaf.grad, again.grad) <= 1e-5


@pytest.mark.parametrize("part", [1, 40, 1 << 20])
@pytest.mark.parametrize("masked", [False, True])
def test_the_number_of_rows_at_a_time_changes_nothing(monkeypatch, part, masked):
    logits, targets = numbers(9, 13, std=3.0).float(), chosen(9, 13)
    mask = torch.arange(9) % 3 != 1 if masked else None
    upstream = numbers(9, seed=5), numbers(9, seed=6)
    whole = scored(logits, targets, upstream, mask=mask, softcap=4.0)
    monkeypatch.setattr(torch_impl, "CHUNK_NUMBERS", part)
    for mine, theirs in zip(scored(logits, targets, upstream, mask=mask, softcap=4.0), whole, strict=True):
        assert torch.equal(mine, theirs)


def test_rows_picked_by_number_are_those_of_the_whole_gradient():
    from rrl_kernels.logits.ops import row_grad, row_stats

    logits, targets = numbers(8, 21).float(), chosen(8, 21)
    _, *stats = row_stats(logits, targets, None, 0.7, 0.0)
    d_logprob, d_entropy = numbers(8, seed=5).float(), numbers(8, seed=6).float()
    picked = torch.tensor([6, 0, 3])
    whole = row_grad(logits, targets, None, *stats, d_logprob, d_entropy, None, 0.7, 0.0, None)
    few = row_grad(logits, targets, None, *stats, d_logprob, d_entropy, picked, 0.7, 0.0, torch.bfloat16)
    assert torch.equal(few, whole[picked].bfloat16())


def test_one_output_alone_may_be_differentiated(implementation):
    logits, targets = numbers(4, 6).requires_grad_(), chosen(4, 6)
    logprob, entropy = api.logprob_entropy(logits, targets)
    (by_entropy,) = torch.autograd.grad(entropy.sum(), logits)
    exact = truth(logits, targets, upstream=(torch.zeros(4), torch.ones(4)))[2]
    assert worst(by_entropy, exact) <= 1e-14
    logprob, nothing = api.logprob_entropy(logits, targets, return_entropy=False)
    assert nothing is None
    (by_logprob,) = torch.autograd.grad(logprob.sum(), logits)
    assert worst(by_logprob, truth(logits, targets, upstream=(torch.ones(4), torch.zeros(4)))[2]) <= 1e-14


@settings(max_examples=60)
@given(
    num_rows=st.integers(0, 9), vocab_size=st.integers(1, 70), std=st.sampled_from([0.0, 1.0, 30.0]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]), softcap=st.sampled_from([None, 3.0]), seed=st.integers(0, 99),
    masked=st.booleans(),
)
def test_any_shape_equals_the_reference(num_rows, vocab_size, std, temperature, softcap, seed, masked):
    logits = numbers(num_rows, vocab_size, seed=seed, std=std).float()
    mask = numbers(num_rows, seed=seed + 1) > 0 if masked else None
    options = {"temperature": temperature, "softcap": softcap, "mask": mask}
    targets, upstream = chosen(num_rows, vocab_size, seed), (numbers(num_rows, seed=1), numbers(num_rows, seed=2))
    mine, exact = scored(logits, targets, upstream, **options), truth(logits, targets, upstream=upstream, **options)
    for one, other, tolerance in zip(mine, exact, (2e-5, 2e-5, 2e-4), strict=True):
        assert worst(one, other) <= tolerance * max(1.0, std)


def test_gradients_are_the_derivative_of_the_values_in_float64(implementation):
    targets, mask = chosen(5, 7), torch.tensor([True, True, False, True, True])
    logits = numbers(5, 7).requires_grad_()
    for options in ({}, {"temperature": 0.6, "softcap": 2.0, "mask": mask}):
        assert torch.autograd.gradcheck(lambda z, o=options: api.logprob_entropy(z, targets, **o), (logits,))


LOGITS, TARGETS = torch.zeros(4, 6), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"logits": torch.zeros(4)}, r"logits has shape \[4\]; expected \[C, V\]"),
        ({"logits": torch.zeros(4, 0)}, "expected a vocabulary of at least 1"),
        ({"logits": torch.zeros(4, 6, dtype=torch.int64)}, "logits has dtype torch.int64; expected one of: float64"),
        ({"targets": TARGETS[:3]}, r"targets has shape \[3\]; expected one for each row of logits = \[4\]"),
        ({"targets": TARGETS.int()}, "targets has dtype torch.int32; expected torch.int64"),
        ({"targets": TARGETS + 6}, r"targets holds 6; expected integers in \[0, 6\)"),
        ({"targets": TARGETS - 1}, r"targets holds -1; expected integers in \[0, 6\)"),
        ({"targets": TARGETS.to("meta")}, "targets is on meta; expected cpu, where logits is"),
        ({"temperature": 0.0}, "temperature is 0.0; expected a finite number > 0"),
        ({"temperature": -1.0}, "temperature is -1.0; expected a finite number > 0"),
        ({"temperature": math.nan}, "temperature is nan; expected a finite number > 0"),
        ({"softcap": 0.0}, "softcap is 0.0; expected a finite number > 0"),
        ({"mask": torch.ones(3, dtype=torch.bool)}, r"mask has shape \[3\]; expected one for each row of logits"),
        ({"mask": torch.ones(4)}, "mask has dtype torch.float32; expected torch.bool"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(change, said):
    with pytest.raises(ValueError, match=said) as refusal:
        api.logprob_entropy(**({"logits": LOGITS, "targets": TARGETS} | change))
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=said):
        api.logits_policy_loss(
            token_loss=lambda *_: pytest.fail("not reached"), **({"logits": LOGITS, "targets": TARGETS} | change)
        )
