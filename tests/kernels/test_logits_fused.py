"""The gradient in the logits' own memory, and a policy loss on logits: the same numbers, and what is refused."""

from __future__ import annotations

import pytest
import torch

from rrl_kernels import api, dispatch
from rrl_kernels.logits import reference, torch_impl
from tests.kernels.rows import PPO, chosen, numbers, relative, watched, worst


@pytest.fixture(params=["torch", "reference"])
def implementation(request, monkeypatch):
    monkeypatch.setattr(dispatch, "_chosen", request.param)
    return request.param


def table(num_rows=8, vocab_size=31, dtype=torch.float64):
    """(leaf, its logits, targets): logits are computed, so their memory may be spent."""
    leaf = numbers(num_rows, vocab_size, std=2.0, dtype=dtype).requires_grad_()
    return leaf, leaf * 1.5, chosen(num_rows, vocab_size)


# ---------------------------------------------------------------------------------------- in place


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "softcap": 4.0}, {"mask": torch.arange(8) % 3 != 0}])
def test_the_gradient_in_place_is_the_gradient(options):
    leaf, logits, targets = table()
    weights = numbers(2, 8, seed=5)

    def gradient(logits, **more):
        logprob, entropy = api.logprob_entropy(logits, targets, **options, **more)
        return torch.autograd.grad(weights[0] @ logprob + weights[1] @ entropy, leaf)[0]

    assert torch.equal(gradient(logits, inplace_backward=True), gradient(leaf * 1.5))


def test_the_gradient_in_place_takes_no_memory_but_scratch_for_one_part(monkeypatch):
    monkeypatch.setattr(torch_impl, "CHUNK_NUMBERS", 4096)  # one row
    leaf, logits, targets = table(64, 4096, torch.float32)
    received = []
    logits.register_hook(lambda grad: received.append(grad.data_ptr()))
    logprob, _ = api.logprob_entropy(logits, targets, inplace_backward=True)
    loss = logprob.sum()
    most, _ = watched(lambda: torch.autograd.grad(loss, logits))  # backward() would copy what it keeps in .grad
    assert received == [logits.data_ptr()]
    assert most <= 64 * 4096 * 4 / 8
    assert worst(logits.detach().sum(1), torch.zeros(64)) <= 1e-4 and (logits > 0).sum() == 64  # onehot - p now


def test_a_leaf_a_view_of_one_and_an_expanded_table_are_not_overwritten():
    leaf, _, targets = table()
    with pytest.raises(ValueError, match="logits is a leaf"):
        api.logprob_entropy(leaf, targets, inplace_backward=True)
    with pytest.raises(ValueError, match="logits is a view of a leaf"):
        api.logprob_entropy(leaf[2:], targets[2:], inplace_backward=True)
    with pytest.raises(ValueError, match="logits is expanded"):
        api.logprob_entropy((leaf[:1] * 2).expand(8, -1), targets, inplace_backward=True)
    with pytest.raises(ValueError, match="logits is a leaf"):
        api.logits_policy_loss(leaf, targets, PPO(8), inplace_backward=True)
    before = leaf.detach().clone()
    api.logprob_entropy(leaf.detach(), targets, inplace_backward=True)  # nothing to learn, nothing to overwrite
    api.logits_policy_loss(leaf.detach(), targets, PPO(8), inplace_backward=True)
    assert torch.equal(leaf, before)


def test_a_view_of_computed_logits_may_be_spent():
    leaf, logits, targets = table()
    api.logprob_entropy(logits[2:], targets[2:], inplace_backward=True)[0].sum().backward()
    mine, leaf.grad = leaf.grad, None
    api.logprob_entropy((leaf * 1.5)[2:], targets[2:])[0].sum().backward()
    assert torch.equal(mine, leaf.grad)


def test_a_second_backward_is_refused():
    _, logits, targets = table()
    loss = api.logprob_entropy(logits, targets, inplace_backward=True)[0].sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_another_reader_that_still_needs_the_logits_is_refused():
    leaf, _, targets = table()
    logits = leaf.exp()  # exp needs its result in backward
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        api.logprob_entropy(logits, targets, inplace_backward=True)[0].sum().backward()
    _, logits, _ = table()
    squared = logits.square().sum()
    api.logprob_entropy(logits, targets, inplace_backward=True)[0].sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squared.backward()


def test_another_reader_that_does_not_need_them_is_served():
    leaf, logits, targets = table()
    (api.logprob_entropy(logits, targets, inplace_backward=True)[0].sum() + logits.sum()).backward()
    mine, leaf.grad = leaf.grad, None
    (api.logprob_entropy(leaf * 1.5, targets)[0].sum() + (leaf * 1.5).sum()).backward()
    assert worst(mine, leaf.grad) <= 1e-12


# ------------------------------------------------------------------------------------- policy loss


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "softcap": 4.0}, {"mask": torch.arange(8) % 3 != 0}])
@pytest.mark.parametrize("upstream", [1.0, 2.5])
def test_the_fused_loss_equals_the_composed_one(implementation, in_place, options, upstream):
    leaf, logits, targets = table()
    token_loss, mask = PPO(8), options.get("mask")
    loss, seen = api.logits_policy_loss(logits, targets, token_loss, inplace_backward=in_place, **options)
    (mine,) = torch.autograd.grad(upstream * loss, leaf)
    kept = torch.arange(8) if mask is None else torch.nonzero(mask).flatten()
    assert [call.tolist() for call in token_loss.calls] == [kept.tolist()]

    cap, temperature = options.get("softcap"), options.get("temperature", 1.0)
    logprob, entropy = reference.logprob_entropy(leaf * 1.5, targets, temperature, cap)
    whole = PPO(8)
    whole.advantage, whole.old_logprob = whole.advantage[kept], whole.old_logprob[kept]
    composed = whole.by_autograd(logprob[kept], entropy[kept])
    (theirs,) = torch.autograd.grad(upstream * composed, leaf)
    assert float(loss) == pytest.approx(float(composed), rel=1e-12)
    assert worst(mine, theirs) <= 1e-14
    assert worst(seen.logprob[kept], logprob[kept].detach()) <= 1e-12
    assert worst(seen.entropy[kept], entropy[kept].detach()) <= 1e-12
    assert not seen.logprob.requires_grad and seen.num_active == len(kept)  # the entropy bonus reaches every token
    if mask is not None:
        assert not seen.logprob[~mask].any() and not seen.d_logprob[~mask].any() and not mine[~mask].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_loss_and_its_gradient_keep_their_precision(dtype):
    leaf, _, targets = table(32, 1000, dtype)
    loss, _ = api.logits_policy_loss(leaf, targets, PPO(32))
    (mine,) = torch.autograd.grad(loss, leaf)
    wide = leaf.detach().double().requires_grad_()
    exact = PPO(32).by_autograd(*reference.logprob_entropy(wide, targets, 1.0))
    (theirs,) = torch.autograd.grad(exact, wide)
    assert float(loss.detach()) == pytest.approx(float(exact), rel=1e-6 if dtype == torch.float32 else 1e-4)
    assert relative(mine, theirs) <= (1e-5 if dtype == torch.float32 else 4e-3)


def test_the_fused_gradient_in_place_is_written_into_the_logits_in_the_call():
    leaf, logits, targets = table()
    before = logits.detach().clone()
    loss, _ = api.logits_policy_loss(logits, targets, PPO(8), inplace_backward=True)
    assert not torch.equal(logits, before)
    received = []
    logits.register_hook(lambda grad: received.append(grad.data_ptr()))
    loss.backward()
    assert received == [logits.data_ptr()]


def test_the_fused_loss_is_differentiated_once():
    _, logits, targets = table()
    loss, _ = api.logits_policy_loss(logits, targets, PPO(8))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated twice"):
        loss.backward()


def test_without_anyone_to_learn_no_gradient_is_formed():
    leaf, logits, targets = table(64, 4096, torch.float32)

    def scored():
        with torch.no_grad():
            loss, seen = api.logits_policy_loss(logits, targets, PPO(64), inplace_backward=True)
        assert not loss.requires_grad and seen.num_active == 64

    before = logits.detach().clone()
    scored()
    assert torch.equal(logits, before)


def test_no_row_to_learn_from_calls_nobody(implementation):
    leaf, logits, targets = table()
    token_loss = PPO(8)
    loss, seen = api.logits_policy_loss(logits, targets, token_loss, mask=torch.zeros(8, dtype=torch.bool))
    (grad,) = torch.autograd.grad(loss, leaf)
    assert (float(loss.detach()), token_loss.calls, seen.num_active, bool(grad.any())) == (0.0, [], 0, False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda lp, h, i: (lp.sum(), lp[:2], h), r"token_loss gave d_logprob of shape \[2\]; expected \[8\]"),
        (lambda lp, h, i: (lp.sum(), lp, h[:, None]), r"token_loss gave d_entropy of shape \[8, 1\]; expected \[8\]"),
        (lambda lp, h, i: (lp, lp, h), r"token_loss gave a loss of shape \[8\]; expected a scalar"),
    ],
)
def test_an_answer_of_another_shape_is_refused(implementation, answer, said):
    _, logits, targets = table()
    with pytest.raises(ValueError, match=said):
        api.logits_policy_loss(logits, targets, answer)
