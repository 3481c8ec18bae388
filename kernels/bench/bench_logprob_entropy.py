"""Log-probability and entropy of given tokens from logits that exist, their gradient, and a PPO loss on them.

python kernels/bench/bench_logprob_entropy.py --out kernels/bench/results/cpu_logprob_entropy.csv
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from bench_linear_policy_loss import ROWS, clipped
from harness import Case, Outputs, Provider, Sample, start
from inputs import logits_and_targets
from peers import compiled, naive_rows, widened
from torch import Tensor

from rrl_kernels import api

Rows = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]


def case(op: str, mode: str, tokens: int, vocab: int, kind: str, dtype: torch.dtype, checked: int) -> Case:
    """One size and mode."""

    def sample(generator: torch.Generator, num: int = tokens) -> dict[str, Any]:
        logits, targets = logits_and_targets(kind, num, vocab, dtype, generator)
        upstream = torch.randn(3, num, device=generator.device, generator=generator) / num
        with torch.no_grad():
            logprob, _ = api.logprob_entropy(logits, targets, return_entropy=False)
        advantage = upstream[2].view(ROWS, -1)[:, :1].expand(ROWS, num // ROWS).reshape(-1) * num
        return {"logits": logits, "targets": targets, "d_logprob": upstream[0], "d_entropy": upstream[1],
                "old": logprob + 0.1 * upstream[1] * num, "advantage": advantage}  # fmt: skip

    exact = losing if op == "logits_policy_loss" else functools.partial(scored, mode)
    passes = 1 if mode == "forward" else 2  # read; read once and write the gradient once
    return Case(
        op=op, mode=mode, size=f"T={tokens} V={vocab}", inputs=kind, dtype=str(dtype).removeprefix("torch."),
        sample=sample, sample_bytes=tokens * vocab * dtype.itemsize, flops=0.0,
        bytes=float(passes * tokens * vocab * dtype.itemsize),
        truth=lambda s: exact(naive, with_graph(widened(s))), check=lambda generator: sample(generator, checked),
    )


def with_graph(s: Sample) -> Sample:
    """Logits of their own that carry a gradient and are no leaf, as a model gives them."""
    return s | {"logits": s["logits"].detach().clone().requires_grad_() * 1.0}


def scored(mode: str, rows: Rows, s: Sample) -> Outputs:
    """Both numbers; with their gradient unless ``mode`` is "forward"."""
    if mode == "forward":
        with torch.no_grad():
            logprob, entropy = rows(s["logits"], s["targets"])
        assert entropy is not None
        return {"logprob": logprob, "entropy": entropy}
    logprob, entropy = rows(s["logits"], s["targets"])
    assert entropy is not None
    upstream = [s[name].to(x.dtype) for name, x in (("d_logprob", logprob), ("d_entropy", entropy))]
    (grad,) = torch.autograd.grad([logprob, entropy], s["logits"], upstream)
    return {"logprob": logprob.detach(), "entropy": entropy.detach(), "d_logits": grad}


def losing(rows: Rows, s: Sample) -> Outputs:
    """The loss and its gradient by autograd behind scores."""
    logprob, _ = rows(s["logits"], s["targets"])
    loss = -clipped(logprob, s["old"], s["advantage"])[0].mean()
    (grad,) = torch.autograd.grad(loss, s["logits"])
    return {"loss": loss.detach(), "d_logits": grad}


def fused(s: Sample) -> Outputs:
    """Loss and gradient in one pass, the gradient in the logits' memory."""
    num = len(s["logits"])

    def token_loss(logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gain, slope = clipped(logprob, s["old"][index], s["advantage"][index])
        return -gain.sum() / num, -slope / num, torch.zeros_like(entropy)

    loss, _ = api.logits_policy_loss(s["logits"], s["targets"], token_loss, inplace_backward=True)
    (grad,) = torch.autograd.grad(loss, s["logits"])
    return {"loss": loss.detach(), "d_logits": grad}


def naive(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
    """log_softmax over everything."""
    return naive_rows(logits, targets, True)


def trl(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
    """Triton on a GPU; elsewhere logsumexp row by row and entropy in chunks of 128 rows."""
    from trl.trainer.utils import selective_log_softmax_and_entropy

    logprob, entropy = selective_log_softmax_and_entropy(logits[None], targets[None])
    return logprob[0], entropy[0]


def liger(s: Sample) -> Outputs:
    """Liger's Triton loss on logits, in place."""
    from liger_kernel.transformers.grpo_loss import triton_grpo_loss

    logits, targets = s["logits"].view(ROWS, -1, s["logits"].shape[1]), s["targets"].view(ROWS, -1)
    padded = torch.cat([logits, logits[:, :1]], 1)  # it wants the logits after the last token too, and drops them
    out = triton_grpo_loss(
        padded, s["old"].view(ROWS, -1), None, targets, s["advantage"].view(ROWS, -1)[:, 0].contiguous(),
        temperature=1.0, beta=0.0, eps_high=0.2, loss_type="bnpo", inplace=True, reduce=True,
    )
    loss = out[0]
    (grad,) = torch.autograd.grad(loss, s["logits"])
    return {"loss": loss.detach(), "d_logits": grad}


def providers(op: str, mode: str) -> list[Provider]:
    """In-place variants get logits of their own before the clock starts."""
    if op == "logits_policy_loss":
        spent = functools.partial(api.logprob_entropy, return_entropy=False, inplace_backward=True)
        return [
            Provider(name="rrl_kernels", call=fused, prepare=with_graph),
            Provider(name="rrl_kernels scores + loss", call=functools.partial(losing, spent), prepare=with_graph),
            Provider(name="naive torch", call=functools.partial(losing, naive), prepare=with_graph),
            Provider(name="trl", call=functools.partial(losing, trl), package="trl", prepare=with_graph),
            Provider(name="liger", call=liger, package="liger_kernel", prepare=with_graph, cuda_only=True),
        ]
    rows: list[tuple[str, Rows, str]] = [
        ("rrl_kernels", api.logprob_entropy, ""), ("naive torch", naive, ""),
        ("torch.compile(naive)", compiled(naive), ""), ("trl", trl, "trl"),
    ]
    if mode == "full":
        rows.append(("rrl_kernels, in place", functools.partial(api.logprob_entropy, inplace_backward=True), ""))
    return [
        Provider(name=name, call=functools.partial(scored, mode, call), package=package, prepare=with_graph)
        for name, call, package in rows
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """A vocabulary of 49152 on a CPU, of 151936 in bfloat16 on a GPU."""
    bench = start(__doc__ or "", arguments)
    gpu = bench.device.type == "cuda"
    size, dtype, checked = ((8192, 151936), torch.bfloat16, 512) if gpu else ((512, 49152), torch.float32, 64)
    for kind in ("random", "peaked"):
        for mode in ("forward", "full"):
            bench.run(case("logprob_entropy", mode, *size, kind, dtype, checked), providers("logprob_entropy", mode))
    bench.run(case("logits_policy_loss", "full", *size, "peaked", dtype, checked), providers("logits_policy_loss", ""))


if __name__ == "__main__":
    main()
