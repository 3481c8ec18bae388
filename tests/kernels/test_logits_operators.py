"""What torch asks of an operator: ``opcheck``, one graph under ``torch.compile``, and every choice by name."""

from __future__ import annotations

import pytest
import torch

from rrl_kernels import api, dispatch
from rrl_kernels.logits.ops import row_grad, row_grad_, row_stats
from tests.kernels.rows import PPO, chosen, numbers, worst

MASK = torch.tensor([True, False, True, True, True, False])


def stats(dtype):
    logits, targets = numbers(6, 11, dtype=dtype), chosen(6, 11)
    return logits, targets, row_stats(logits, targets, MASK, 0.7, 5.0)[1:]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mask", [None, MASK])
def test_scoring_passes_torchs_check_of_an_operator(dtype, mask):
    logits = numbers(6, 11, dtype=dtype).requires_grad_()
    torch.library.opcheck(row_stats, (logits, chosen(6, 11), mask, 0.7, 5.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("picked", [None, torch.tensor([2, 0])])
def test_the_gradient_passes_it_in_new_memory_and_in_place(dtype, picked):
    logits, targets, numbers_of = stats(dtype)
    upstream = numbers(6, seed=5).to(numbers_of[0]), numbers(6, seed=6).to(numbers_of[0])
    out = torch.bfloat16 if dtype == torch.float32 else None
    torch.library.opcheck(row_grad, (logits, targets, None, *numbers_of, *upstream, picked, 0.7, 5.0, out))
    torch.library.opcheck(row_grad, (logits, targets, None, *numbers_of, upstream[0], None, picked, 0.7, 5.0, out))
    torch.library.opcheck(row_grad_, (logits, targets, MASK, *numbers_of, *upstream, 0.7, 5.0))


def losses(logits, targets):
    """name -> function of logits; what a training step would compile."""
    def weighed(**options):
        def loss(z):
            logprob, entropy = api.logprob_entropy(z * 1.5, targets, **options)
            return 2.0 * logprob.sum() + entropy.sum()
        return loss

    advantage = numbers(len(targets), seed=7).to(logits)

    def token_loss(logprob, entropy, index):
        a = advantage[index]
        return -(a * logprob).sum() - 0.1 * entropy.sum(), -a, torch.full_like(entropy, -0.1)

    return {
        "scores": weighed(temperature=0.7, softcap=5.0, mask=MASK),
        "in place": weighed(inplace_backward=True),
        "policy loss": lambda z: 3.0 * api.logits_policy_loss(z * 1.5, targets, token_loss)[0],
    }


def both(loss, logits, backend):
    torch._dynamo.reset()
    eager = torch.autograd.grad(loss(logits), logits)[0]
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    for _ in range(5):  # a wrong account of what is mutated shows from the second call on
        assert worst(torch.autograd.grad(compiled(logits), logits)[0], eager) <= 1e-6


@pytest.mark.parametrize("name", ["scores", "in place", "policy loss"])
def test_torch_compile_takes_it_in_one_graph_with_the_same_gradient(name):
    logits, targets = numbers(6, 11).float().requires_grad_(), chosen(6, 11)
    both(losses(logits, targets)[name], logits, "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scores", "in place", "policy loss"])
def test_so_does_the_compiler_that_generates_code(name):
    logits, targets = numbers(6, 11).float().requires_grad_(), chosen(6, 11)
    both(losses(logits, targets)[name], logits, "inductor")


def test_a_target_out_of_range_is_refused_inside_a_compiled_function_too():
    torch._dynamo.reset()
    compiled = torch.compile(lambda z, t: api.logprob_entropy(z, t)[0], fullgraph=True, backend="aot_eager")
    logits = numbers(2, 5).float()
    assert compiled(logits, torch.tensor([0, 4])).shape == (2,)
    with pytest.raises(RuntimeError, match=r"targets holds a number outside \[0, 5\)"):
        compiled(logits, torch.tensor([0, 5]))


def test_every_choice_gives_the_same_numbers_and_triton_is_refused_where_it_cannot_run(monkeypatch):
    logits, targets = numbers(6, 11).float(), chosen(6, 11)
    monkeypatch.setattr(dispatch, "_chosen", None)
    results = {}
    for name in ("auto", "torch", "reference"):
        monkeypatch.setenv("RRL_KERNELS", name)
        results[name] = (*api.logprob_entropy(logits, targets), api.logits_policy_loss(logits, targets, PPO(6))[0])
    for name in ("torch", "reference"):
        for mine, theirs in zip(results[name], results["auto"], strict=True):
            assert worst(mine, theirs) <= 1e-6
    monkeypatch.setenv("RRL_KERNELS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="row_stats: triton was asked for by name, but the input is on cpu"):
        api.logprob_entropy(logits, targets)
