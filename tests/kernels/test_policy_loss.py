"""The output layer's operations, whatever implements them: equal to float64 autograd, at the edges too."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rrl_kernels import api

CAPS = [None, 5.0]


def problem(num=13, width=8, vocab=37, dtype=torch.float64, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    sizes = ((num, width), (vocab, width), (vocab,))
    draw = [torch.randn(*size, generator=generator, dtype=torch.float64) for size in sizes]
    hidden, weight, bias = ((scale * x).to(dtype).requires_grad_() for x in draw)
    return hidden, weight, bias, torch.randint(0, vocab, (num,), generator=generator)


def ppo(advantage, old, entropy_coef=0.1, clip=0.2):
    """(as a token loss with its derivatives by hand, as plain torch for autograd); mean over all tokens."""
    num = len(advantage)

    def token_loss(logprob, entropy, index):
        a, ratio = advantage[index].to(logprob), (logprob - old[index].to(logprob)).exp()
        clipped = torch.where(a > 0, ratio > 1 + clip, ratio < 1 - clip)
        gain = torch.where(clipped, ratio.clamp(1 - clip, 1 + clip) * a, ratio * a)
        slope = torch.where(clipped, 0.0, ratio * a)
        loss = -(gain + entropy_coef * entropy).sum() / num
        return loss, -slope / num, torch.full_like(entropy, -entropy_coef / num)

    def plain(logprob, entropy):
        ratio = (logprob - old.to(logprob)).exp()
        a = advantage.to(logprob)
        gain = torch.minimum(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)
        return -(gain + entropy_coef * entropy).sum() / num

    return token_loss, plain


def truth(hidden, weight, bias, targets, temperature, softcap):
    """(logprob, entropy) in float64, written out."""
    z = hidden @ weight.t() + bias
    z = z if softcap is None else softcap * torch.tanh(z / softcap)
    log_p = torch.log_softmax(z / temperature, -1)
    return log_p.gather(-1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


@pytest.mark.parametrize("softcap", CAPS)
@pytest.mark.parametrize("chunk_tokens", [0, 1, 4, 100])
def test_a_ppo_loss_inside_the_head_equals_autograd_through_all_logits(softcap, chunk_tokens):
    hidden, weight, bias, targets = problem()
    advantage = torch.randn(13, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        old = truth(hidden, weight, bias, targets, 0.7, softcap)[0] + 0.5 * torch.randn(
            13, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    token_loss, plain = ppo(advantage, old)
    loss, seen = api.linear_policy_loss(
        hidden, weight, targets, token_loss, bias=bias, temperature=0.7, softcap=softcap, chunk_tokens=chunk_tokens
    )
    ours = torch.autograd.grad(3.0 * loss, (hidden, weight, bias))
    logprob, entropy = truth(hidden, weight, bias, targets, 0.7, softcap)
    expected = plain(logprob, entropy)
    theirs = torch.autograd.grad(3.0 * expected, (hidden, weight, bias))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(seen.logprob, logprob.detach())
    torch.testing.assert_close(seen.entropy, entropy.detach())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("softcap", CAPS)
def test_scores_take_any_upstream_gradient(softcap):
    hidden, weight, bias, targets = problem(num=5, vocab=7, width=3)

    def score(h, w, b):
        return api.linear_logprob(h, w, targets, bias=b, temperature=0.7, softcap=softcap, chunk_tokens=2)

    assert torch.autograd.gradcheck(score, (hidden, weight, bias))
    logits = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: api.logprob_entropy(z, targets, temperature=0.7, softcap=softcap), (logits,)
    )


def test_rows_without_a_gradient_leave_the_products_and_change_nothing():
    hidden, weight, bias, targets = problem()
    advantage = torch.tensor([0.0, 1.0, 0.0, 0.0, -2.0, *[0.0] * 8], dtype=torch.float64)

    def only(logprob, entropy, index):
        a = advantage[index]
        return -(a * logprob).sum(), -a, torch.zeros_like(entropy)

    loss, _ = api.linear_policy_loss(hidden, weight, targets, only, bias=bias, chunk_tokens=5)
    ours = torch.autograd.grad(loss, (hidden, weight, bias))
    logprob, _ = truth(hidden, weight, bias, targets, 1.0, None)
    theirs = torch.autograd.grad(-(advantage * logprob).sum(), (hidden, weight, bias))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert not ours[0][advantage == 0].any()   # exactly zero, not small


def test_masked_rows_are_neither_seen_nor_learnt_from():
    hidden, weight, bias, targets = problem()
    mask = torch.arange(13) % 3 != 0
    shown = []

    def spy(logprob, entropy, index):
        shown.extend(index.tolist())
        return -logprob.sum(), -torch.ones_like(logprob), torch.zeros_like(entropy)

    poisoned = torch.where(mask[:, None], hidden, float("nan")).detach().requires_grad_()
    loss, _ = api.linear_policy_loss(poisoned, weight, targets, spy, bias=bias, mask=mask, chunk_tokens=4)
    assert shown == torch.nonzero(mask).flatten().tolist()
    (d_hidden,) = torch.autograd.grad(loss, poisoned)
    assert d_hidden.isfinite().all() and not d_hidden[~mask].any()
    logprob, entropy = api.linear_logprob(poisoned, weight, targets, bias=bias, mask=mask)
    assert not logprob[~mask].any() and not entropy[~mask].any() and logprob[mask].all()


def test_the_gradient_of_the_weights_does_not_lose_digits_with_the_number_of_chunks():
    hidden, weight, bias, targets = problem(num=256, dtype=torch.bfloat16, scale=0.5)

    def loss_of(logprob, entropy, index):
        return -logprob.sum(), -torch.ones_like(logprob), torch.zeros_like(entropy)

    wide = [x.detach().double().requires_grad_() for x in (hidden, weight, bias)]
    (exact,) = torch.autograd.grad(-truth(*wide, targets, 1.0, None)[0].sum(), wide[1])
    errors = []
    for chunk_tokens in (256, 16, 1):
        loss, _ = api.linear_policy_loss(hidden, weight, targets, loss_of, bias=bias, chunk_tokens=chunk_tokens)
        (d_weight,) = torch.autograd.grad(loss, weight)
        errors.append(float((d_weight.double() - exact).norm() / exact.norm()))
    assert max(errors) <= 4e-3 and max(errors) <= 1.1 * min(errors), errors


@pytest.mark.parametrize("p", [0.9, 0.99, 0.999])
def test_the_targets_own_gradient_survives_half_precision(p):
    # d (-log p) / d z_target = p - 1: rounding p to bfloat16 before taking 1 from it loses it altogether at .999.
    rest = torch.log(torch.tensor((1 - p) / 99))
    logits = torch.cat([torch.log(torch.tensor([p])), rest.repeat(99)])[None].to(torch.bfloat16).requires_grad_()
    logprob, _ = api.logprob_entropy(logits, torch.tensor([0]))
    (grad,) = torch.autograd.grad(-logprob.sum(), logits)
    exact = torch.softmax(logits.detach().double(), -1)[0, 0] - 1
    assert abs(float(grad[0, 0]) / float(exact) - 1) <= 5e-3


@pytest.mark.parametrize("shift", [0.0, -50.0, -1e3])
@pytest.mark.parametrize("spread", [1.0, 80.0])
def test_shifted_and_peaked_logits_keep_their_numbers(shift, spread):
    generator = torch.Generator().manual_seed(0)
    logits = (torch.rand(6, 131, generator=generator) * spread + shift)   # 131: no multiple of any tile
    targets = torch.randint(0, 131, (6,), generator=generator)
    logprob, entropy = api.logprob_entropy(logits, targets)
    log_p = torch.log_softmax(logits.double(), -1)
    torch.testing.assert_close(logprob.double(), log_p.gather(-1, targets[:, None])[:, 0], rtol=1e-5, atol=2e-4)
    torch.testing.assert_close(entropy.double(), -(log_p.exp() * log_p).sum(-1), rtol=1e-4, atol=2e-4)


def test_logits_in_float32_cost_a_bfloat16_model_no_digits():
    hidden, weight, _, targets = problem(num=64, width=32, vocab=500, dtype=torch.bfloat16)
    hidden, weight = hidden.detach(), weight.detach()
    exact, exact_entropy = truth(
        hidden.detach().double(), weight.detach().double(), torch.zeros(500, dtype=torch.float64), targets, 1.0, None
    )
    logprob, entropy = api.linear_logprob(hidden, weight, targets)
    assert float((logprob - exact).abs().max()) <= 1e-4 and float((entropy - exact_entropy).abs().max()) <= 1e-4
    rounded, _ = api.linear_logprob(hidden, weight, targets, logits_dtype=torch.bfloat16)
    assert float((rounded - exact).abs().max()) > 1e-3   # what the default saves


def test_a_backward_in_place_allocates_no_second_table_and_refuses_other_readers():
    base = torch.randn(6, 11, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.arange(6)
    (expected,) = torch.autograd.grad(api.logprob_entropy(base * 2, targets)[0].sum(), base)
    logits = base * 2
    logprob, _ = api.logprob_entropy(logits, targets, inplace_backward=True)
    (grad,) = torch.autograd.grad(logprob.sum(), base)
    torch.testing.assert_close(grad, expected)
    with pytest.raises(ValueError, match="leaf"):
        api.logprob_entropy(base, targets, inplace_backward=True)
    logits = base * 2
    logprob, _ = api.logprob_entropy(logits, targets, inplace_backward=True)
    other = logits.square().sum()   # needs the logits after our backward has spent them
    with pytest.raises(RuntimeError):
        torch.autograd.grad(logprob.sum() * 1.0, base, retain_graph=True)
        torch.autograd.grad(other, base)


@pytest.mark.parametrize("num", [0, 1])
def test_no_row_and_one_row(num):
    hidden, weight, bias, targets = problem(num=num)

    def loss_of(logprob, entropy, index):
        return -logprob.sum(), -torch.ones_like(logprob), torch.zeros_like(entropy)

    loss, seen = api.linear_policy_loss(hidden, weight, targets, loss_of, bias=bias)
    grads = torch.autograd.grad(loss, (hidden, weight, bias))
    assert len(seen.logprob) == num and all(g.isfinite().all() for g in grads)
    assert api.linear_logprob(hidden, weight, targets)[0].shape == (num,)


def test_strided_and_expanded_inputs_are_read_as_they_look():
    hidden, weight, bias, targets = (x.detach() for x in problem())
    plain, _ = api.linear_logprob(hidden, weight, targets, bias=bias)
    strided, _ = api.linear_logprob(hidden.t().contiguous().t(), weight.t().contiguous().t(), targets, bias=bias)
    torch.testing.assert_close(plain, strided)
    one, _ = api.linear_logprob(hidden[:1].expand(13, -1), weight, targets, bias=bias)
    two, _ = api.linear_logprob(hidden[:1].repeat(13, 1), weight, targets, bias=bias)
    torch.testing.assert_close(one, two)


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(x, torch.Tensor):
                self.most = max(self.most, x.untyped_storage().nbytes())
        return out


def test_no_tensor_of_all_logits_ever_exists():
    hidden, weight, _, targets = problem(num=512, width=4, vocab=300, dtype=torch.float32)

    def loss_of(logprob, entropy, index):
        return -logprob.sum(), -torch.ones_like(logprob), torch.zeros_like(entropy)

    with Largest() as largest:
        loss, _ = api.linear_policy_loss(hidden, weight, targets, loss_of, chunk_tokens=32)
        loss.backward()
    assert largest.most <= 512 * 300 * 4 / 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"targets": torch.tensor([0, 37] + [0] * 11)}, r"targets"),
        ({"targets": torch.zeros(13, dtype=torch.int32)}, "targets has dtype torch.int32"),
        ({"weight": torch.zeros(37, 9, dtype=torch.float64)}, "hidden has shape|weight has shape"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"softcap": -1.0}, "softcap is -1.0"),
        ({"mask": torch.ones(12, dtype=torch.bool)}, "mask has shape"),
        ({"logits_dtype": torch.int64}, "logits_dtype is"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, said):
    hidden, weight, bias, targets = (x.detach() for x in problem())
    with pytest.raises(ValueError, match=said):
        api.linear_logprob(**({"hidden": hidden, "weight": weight, "targets": targets, "bias": bias} | change))


def test_the_scores_compile_in_one_graph_and_pass_torchs_own_checks():
    hidden, weight, bias, targets = problem(dtype=torch.float32)

    def score(h, w, b):
        logprob, entropy = api.linear_logprob(h, w, targets, bias=b, temperature=0.7, chunk_tokens=4)
        return logprob.sum() + 0.3 * entropy.sum()

    eager = torch.autograd.grad(score(hidden, weight, bias), (hidden, weight, bias))
    compiled = torch.compile(score, fullgraph=True, backend="aot_eager")
    again = torch.autograd.grad(compiled(hidden, weight, bias), (hidden, weight, bias))
    for one, other in zip(eager, again, strict=True):
        torch.testing.assert_close(one, other)
