"""On a real GPU: every operation by Triton against the reference in float64. Nothing here runs without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rrl_kernels import api, dispatch, segments

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.fixture(autouse=True)
def triton_by_name() -> Iterator[None]:
    """A fallback would hide what is tested."""
    before = dispatch.choice()
    dispatch.use("triton")
    yield
    dispatch.use(before)


def reference(call, *tensors, **options):  # type: ignore[no-untyped-def]
    """The same by the reference, on float64 copies on the CPU."""
    dispatch.use("reference")
    try:
        wide = [t.detach().cpu().double() if t.is_floating_point() else t.cpu() for t in tensors]
        return call(*wide, **options)
    finally:
        dispatch.use("triton")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("vocab", [1000, 32003, 151936])
def test_logprob_and_entropy_and_their_gradient(dtype: torch.dtype, vocab: int) -> None:
    logits = (4 * torch.randn(33, vocab, device="cuda")).to(dtype).requires_grad_()
    targets = torch.randint(vocab, (33,), device="cuda")
    logprob, entropy = api.logprob_entropy(logits, targets)
    (logprob.sum() + 0.1 * entropy.sum()).backward()
    wide = logits.detach().cpu().double().requires_grad_()
    dispatch.use("reference")
    true_logprob, true_entropy = api.logprob_entropy(wide, targets.cpu())
    (true_logprob.sum() + 0.1 * true_entropy.sum()).backward()
    torch.testing.assert_close(logprob.cpu().double(), true_logprob, rtol=0, atol=2e-5)
    torch.testing.assert_close(entropy.cpu().double(), true_entropy, rtol=0, atol=2e-5)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(logits.grad.cpu().double(), wide.grad, rtol=tolerance, atol=tolerance * 1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_policy_loss_in_the_head_and_both_its_gradients(dtype: torch.dtype) -> None:
    rows, width, vocab = 700, 256, 5003
    hidden = torch.randn(rows, width, device="cuda").to(dtype).requires_grad_()
    weight = (torch.randn(vocab, width, device="cuda") / 16).to(dtype).requires_grad_()
    targets, advantage = torch.randint(vocab, (rows,), device="cuda"), torch.randn(rows, device="cuda")

    def token_loss(logprob, entropy, index):  # type: ignore[no-untyped-def]
        a = advantage[index].to(logprob)
        return -(a * logprob).sum() - 0.01 * entropy.sum(), -a, torch.full_like(entropy, -0.01)

    loss, _ = api.linear_policy_loss(hidden, weight, targets, token_loss)
    loss.backward()
    wide = [t.detach().cpu().double().requires_grad_() for t in (hidden, weight)]
    dispatch.use("reference")
    advantage = advantage.cpu()
    true, _ = api.linear_policy_loss(*wide, targets.cpu(), token_loss, logits_dtype=torch.float64)
    true.backward()
    torch.testing.assert_close(loss.cpu().double(), true, rtol=1e-4, atol=1e-3)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-2
    for mine, theirs in zip((hidden.grad, weight.grad), (w.grad for w in wide), strict=True):
        assert float((mine.cpu().double() - theirs).norm() / theirs.norm()) < tolerance


@pytest.mark.parametrize("lengths", [[4096] * 8, [1, 0, 7, 300, 2049], []], ids=str)
def test_scans_over_packed_rows(lengths: list[int]) -> None:
    offsets = torch.tensor([0, *lengths], device="cuda").cumsum(0)
    reward, value, log_ratio = torch.randn(3, int(offsets[-1]), device="cuda")
    final = torch.randn(len(lengths), device="cuda")
    rows = {"gamma": 0.99, "lam": 0.95, "bootstrap_value": final}
    wide = rows | {"bootstrap_value": final.cpu().double()}
    mine = segments.segment_gae(reward, value, offsets, **rows)
    for a, b in zip(mine, reference(segments.segment_gae, reward, value, offsets, **wide), strict=True):
        torch.testing.assert_close(a.cpu().double(), b, rtol=1e-5, atol=1e-4)
    clips = {"rho_bar": 1.0, "c_bar": 1.0}
    policies = (value, value + 0.1 * log_ratio)  # any two numbers a token serve as log-probs
    traced = segments.segment_vtrace(reward, value, *policies, offsets, **rows, **clips)
    true = reference(segments.segment_vtrace, reward, value, *policies, offsets, **wide, **clips)
    torch.testing.assert_close(traced.advantage.cpu().double(), true.advantage, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["grpo", "dr_grpo", "rloo"])
def test_group_advantages_and_whitening(kind: str) -> None:
    reward, group = torch.randn(5000, device="cuda"), torch.randint(700, (5000,), device="cuda")
    mine = segments.group_advantage(reward, group, 700, kind=kind).advantage
    true = reference(segments.group_advantage, reward, group, num_groups=700, kind=kind).advantage
    torch.testing.assert_close(mine.cpu().double(), true, rtol=1e-4, atol=1e-4)
    white, truth = segments.whiten(reward, group, 700), reference(segments.whiten, reward, group, num_segments=700)
    torch.testing.assert_close(white.cpu().double(), truth, rtol=1e-4, atol=1e-4)
