"""Every kernel in Triton's interpreter against float64, in float32 and float16 (the interpreter corrupts bfloat16).

Run by tests/kernels/test_interpreted.py in a process of its own: TRITON_INTERPRET decides when a kernel is decorated.
"""

from __future__ import annotations

import functools
import itertools
import mmap
import os
from collections.abc import Callable

assert os.environ["TRITON_INTERPRET"] == "1"

import torch  # noqa: E402

from rrl_kernels import api, dispatch, segments  # noqa: E402
from rrl_kernels.group import triton_impl as grouping  # noqa: E402
from rrl_kernels.scan import triton_impl as scan  # noqa: E402

dispatch.use("triton")
GENERATOR = torch.Generator().manual_seed(0)


def randn(*size: int) -> torch.Tensor:
    return torch.randn(*size, generator=GENERATOR)


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float, what: str) -> None:
    error = float((ours.double() - theirs.double()).abs().max()) if len(ours) else 0.0
    assert error <= tolerance, f"{what}: {error}"


def rows() -> int:
    count = 0
    for vocab, softcap, dtype, masked in itertools.product(
        (1, 7, 1000, 1500), (None, 5.0), (torch.float32, torch.float16), (False, True)
    ):
        raw = (randn(5, vocab) * 6).to(dtype)
        raw[1] += -1000 if dtype == torch.float32 else -50
        if vocab > 7:
            raw[2, 3] = float("-inf")
        targets = torch.randint(0, vocab, (5,), generator=GENERATOR)
        targets[2] = 0
        mask = torch.tensor([True, False, True, True, True]) if masked else None
        grads = []
        for logits in (raw.clone().requires_grad_(), raw.double().requires_grad_()):
            if logits.dtype == torch.float64:
                dispatch.use("reference")
            logprob, entropy = api.logprob_entropy(logits, targets, temperature=0.7, softcap=softcap, mask=mask)
            grads.append((logprob, entropy, torch.autograd.grad((logprob * 2 + entropy).sum(), logits)[0]))
            dispatch.use("triton")
        what = f"{vocab} {softcap} {dtype} {masked}"
        close(grads[0][0], grads[1][0], 3e-4, f"logprob {what}")
        close(grads[0][1], grads[1][1], 3e-4, f"entropy {what}")
        close(grads[0][2], grads[1][2], 2e-3 if dtype == torch.float32 else 2e-2, f"gradient {what}")
        count += 1
    return count


def far_rows() -> int:
    """Rows whose first element lies beyond 2^31: a row number times a stride must not wrap at 32 bits."""
    vocab, stride = 37, (1 << 30) + 7  # of a table of 3 rows; 4 GiB of addresses, of which three pages are ever touched
    memory = torch.frombuffer(mmap.mmap(-1, 2 * (2 * stride + vocab)), dtype=torch.float16)
    far = memory.as_strided((3, vocab), (stride, 1))
    near = (randn(3, vocab) * 4).half()
    far.copy_(near)
    targets, upstream = torch.tensor([3, 0, 36]), randn(3)
    results = []
    for logits in (far, near):
        spent = logits.requires_grad_() * 1 if logits is near else _Kept.apply(logits.requires_grad_())
        logprob, entropy = api.logprob_entropy(spent, targets, inplace_backward=logits is far)
        gradient = torch.autograd.grad((logprob * upstream).sum() + entropy.sum(), logits)[0]
        results.append((logprob.detach(), entropy.detach(), gradient.detach().float()))
    for one, other, what in zip(*results, ("logprob", "entropy", "gradient"), strict=True):
        close(one, other, 1e-6, f"far rows: {what}")
    return 1


class _Kept(torch.autograd.Function):
    """The same memory as no leaf, so that its gradient may be written into it."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient


def head() -> int:
    hidden, weight, targets = randn(20, 16), randn(133, 16), torch.arange(20)
    advantage = randn(20)

    def token_loss(logprob: torch.Tensor, entropy: torch.Tensor, index: torch.Tensor):  # type: ignore[no-untyped-def]
        a = advantage[index].to(logprob)
        return -(a * logprob).sum() - 0.1 * entropy.sum(), -a, torch.full_like(entropy, -0.1)

    results = []
    for name in ("triton", "torch"):
        dispatch.use(name)
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        loss, _ = api.linear_policy_loss(h, w, targets, token_loss, chunk_tokens=8)
        results.append([loss.detach()[None], *torch.autograd.grad(loss, (h, w))])
    dispatch.use("triton")
    for one, other in zip(*results, strict=True):
        close(one, other, 1e-4, "policy loss")
    return 1


def scans() -> int:
    count = 0
    for lengths in ([1], [40, 1, 0, 17], [0]):
        offsets = torch.tensor([0, *lengths]).cumsum(0)
        num = int(offsets[-1])
        reward, value, new, old = (randn(num) for _ in range(4))
        final, row_lam = randn(len(lengths)), torch.rand(len(lengths), generator=GENERATOR)
        for lam, target_lam in ((0.9, None), (0.9, 1.0), (row_lam, 1.0), (row_lam, None)):
            common = {"gamma": 0.97, "bootstrap_value": final}
            ours = segments.segment_gae(reward, value, offsets, lam=lam, target_lam=target_lam, **common)
            dispatch.use("reference")
            theirs = segments.segment_gae(reward, value, offsets, lam=lam, target_lam=target_lam, **common)
            dispatch.use("triton")
            for one, other in zip(ours, theirs, strict=True):
                close(one, other, 2e-5, f"gae {lengths}")
            count += 1
        common = {"gamma": 0.97, "lam": 0.9, "rho_bar": 1.5, "c_bar": 1.0, "bootstrap_value": final}
        mine = segments.segment_vtrace(reward, value, new, old, offsets, **common)
        dispatch.use("reference")
        truth = segments.segment_vtrace(reward, value, new, old, offsets, **common)
        dispatch.use("triton")
        for name in ("value_target", "advantage", "rho", "ess"):
            close(getattr(mine, name), getattr(truth, name), 5e-5, f"vtrace {name} {lengths}")
        count += 1
    return count


def refused(call: Callable[[], object], what: str) -> int:
    """The kernel itself sees what is wrong: on a GPU nobody looks before it."""
    try:
        call()
    except ValueError:
        return 1
    raise AssertionError(f"not refused: {what}")


def bad_rows() -> int:
    good = {"reward": randn(5), "value": randn(5), "log_ratio": randn(5)}
    offsets, final, count = torch.tensor([0, 2, 5]), randn(2), 0

    def run(of: dict[str, torch.Tensor], offsets: torch.Tensor, final: torch.Tensor) -> None:
        scan.vtrace(of["reward"], of["value"], of["log_ratio"], offsets, final, 0.9, 0.9, 1.0, 1.0)

    def run_gae(of: dict[str, torch.Tensor], offsets: torch.Tensor, final: torch.Tensor) -> None:
        scan.gae(of["reward"], of["value"], offsets, final, 0.9, 0.9, None, -1.0)

    run(good, offsets, final)
    run_gae(good, offsets, final)
    for number in (float("nan"), float("inf"), float("-inf")):
        for name in good:
            spoilt = good | {name: good[name].clone().index_fill_(0, torch.tensor([3]), number)}
            count += refused(lambda of=spoilt: run(of, offsets, final), f"vtrace {name} {number}")
            if name != "log_ratio":
                count += refused(lambda of=spoilt: run_gae(of, offsets, final), f"gae {name} {number}")
        after = torch.tensor([0.0, number])
        count += refused(lambda f=after: run(good, offsets, f), f"vtrace bootstrap {number}")
        count += refused(lambda f=after: run_gae(good, offsets, f), f"gae bootstrap {number}")
    for wrong in ([0, 2, 4], [1, 2, 5], [0, 6, 5], [0, -1, 5], [0, 2, 9]):
        count += refused(lambda o=wrong: run(good, torch.tensor(o), final), f"vtrace offsets {wrong}")
        count += refused(lambda o=wrong: run_gae(good, torch.tensor(o), final), f"gae offsets {wrong}")
    return count


def groups() -> int:
    """Both ways of finding a group's rows, and what the kernel refuses."""
    count = 0
    for limit in (0, grouping.LOOK_THROUGH):
        grouping.LOOK_THROUGH = limit
        count += good_groups()
        for spoilt in ([0.0, float("nan"), 1.0], [0.0, float("inf"), 1.0]):
            call = functools.partial(grouping.statistics, torch.tensor(spoilt), torch.tensor([0, 1, 1]), 2, 0, 1e-6)
            count += refused(call, f"group of {spoilt}, sorted above {limit}")
        for ids in ([0, 1, 2], [-1, 0, 1]):
            call = functools.partial(grouping.statistics, torch.zeros(3), torch.tensor(ids), 2, 0, 1e-6)
            count += refused(call, f"ids {ids}, sorted above {limit}")
    return count


def good_groups() -> int:
    reward = torch.tensor([1.0, 0.0, 5.0, 0.1, 0.1, 0.1, 2.0])
    group = torch.tensor([0, 3, 1, 2, 2, 2, 3])
    for kind in ("grpo", "dr_grpo", "rloo"):
        ours = segments.group_advantage(reward, group, 5, kind=kind)
        dispatch.use("reference")
        theirs = segments.group_advantage(reward, group, 5, kind=kind)
        dispatch.use("triton")
        for name in ("advantage", "mean", "std", "zero"):
            close(getattr(ours, name), getattr(theirs, name), 1e-6, f"{kind} {name}")
    ours = segments.whiten(reward, group, 5)
    dispatch.use("torch")
    close(ours, segments.whiten(reward, group, 5), 1e-6, "whiten")
    dispatch.use("triton")
    return 4


if __name__ == "__main__":
    print(rows() + far_rows() + head() + scans() + bad_rows() + groups(), "cases")
