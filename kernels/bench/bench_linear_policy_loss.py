"""A PPO loss and both its gradients from hidden states: inside the output layer, and by scoring and recomputing.

python kernels/bench/bench_linear_policy_loss.py --out kernels/bench/results/cpu_linear_policy_loss.csv
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from harness import Bench, Case, Outputs, Provider, Sample, start
from inputs import states_and_targets
from peers import SCORERS, Scorer, graded, leaves, naive, widened
from torch import Tensor

from rrl_kernels import api

ROWS = 8  # sequences; the advantage is one number for each, which is all that Liger's loss can take


def clipped(logprob: Tensor, old: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """(PPO's surrogate of each token, its derivative), ratio clipped to .8 .. 1.2."""
    ratio = (logprob - old).exp()
    outside = torch.where(advantage > 0, ratio > 1.2, ratio < 0.8)
    gain = torch.where(outside, ratio.clamp(0.8, 1.2), ratio) * advantage
    return gain, torch.where(outside, 0.0, ratio * advantage)


def case(tokens: int, width: int, vocab: int, kind: str, dtype: torch.dtype, zeros: float, checked: int) -> Case:
    """One size; ``zeros``: share of sequences with advantage 0, as from groups whose rewards are all alike."""

    def sample(generator: torch.Generator, num: int = tokens) -> dict[str, Any]:
        hidden, weight, targets = states_and_targets(kind, num, width, vocab, dtype, generator)
        with torch.no_grad():
            logprob, _ = api.linear_logprob(hidden, weight, targets, return_entropy=False)
        noise = torch.randn(num, device=generator.device, generator=generator)
        of_row = torch.randn(ROWS, device=generator.device, generator=generator)
        of_row[: round(zeros * ROWS)] = 0.0
        advantage = of_row.repeat_interleave(num // ROWS)
        return {"hidden": hidden, "weight": weight, "targets": targets, "old": logprob + 0.1 * noise,
                "advantage": advantage}  # fmt: skip

    active = 1.0 - round(zeros * ROWS) / ROWS
    return Case(
        op="linear_policy_loss", mode="full" if not zeros else f"full, {zeros:.0%} zero",
        size=f"T={tokens} H={width} V={vocab}", inputs=kind, dtype=str(dtype).removeprefix("torch."), sample=sample,
        sample_bytes=(tokens + vocab) * width * dtype.itemsize,
        flops=(2.0 + 4.0 * active) * tokens * width * vocab,
        bytes=float(2 * (tokens + vocab) * width * dtype.itemsize), truth=lambda s: composed(naive, widened(s)),
        check=lambda generator: sample(generator, checked),
    )


def composed(scorer: Scorer, s: Sample) -> Outputs:
    """Scores, then the loss on them, by autograd."""
    hidden, weight = leaves(s)
    logprob, _ = scorer(hidden, weight, s["targets"], False)
    return graded(-clipped(logprob, s["old"], s["advantage"])[0].mean(), hidden, weight)


def fused(logits_dtype: torch.dtype | None, s: Sample) -> Outputs:
    """Loss and gradients in one pass: 6 T H V."""
    hidden, weight = leaves(s)
    num = len(hidden)

    def token_loss(logprob: Tensor, entropy: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gain, slope = clipped(logprob, s["old"][index], s["advantage"][index])
        return -gain.sum() / num, -slope / num, torch.zeros_like(entropy)

    dtype = logits_dtype or torch.float32
    loss, _ = api.linear_policy_loss(hidden, weight, s["targets"], token_loss, logits_dtype=dtype)
    return graded(loss, hidden, weight)


def liger(s: Sample) -> Outputs:
    """LigerFusedLinearGRPOLoss: chunks of sequences and vocabulary in torch, gradients by float32 products."""
    from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss

    hidden, weight = leaves(s)
    loss = LigerFusedLinearGRPOLoss(beta=0.0, compiled=hidden.is_cuda, use_ref_model=False, loss_type="bnpo")
    targets = s["targets"].view(ROWS, -1)
    out = loss(
        hidden.view(ROWS, -1, hidden.shape[1]), weight, targets, torch.ones_like(targets),
        s["advantage"].view(ROWS, -1)[:, 0].contiguous(), old_per_token_logps=s["old"].view(ROWS, -1),
    )
    return graded(out[0], hidden, weight)


def providers(bench: Bench) -> list[Provider]:
    """The fused loss, scorers with the loss behind them, Liger's own loss (its scorer: bench_linear_logprob)."""
    others = [
        Provider(name=f"{name} + loss", call=functools.partial(composed, scorer), package=package)
        for name, (scorer, package) in SCORERS.items() if name != "liger" or bench.device.type == "cuda"
    ]
    own = [Provider(name="rrl_kernels", call=functools.partial(fused, None))]
    if bench.device.type == "cuda":
        narrow = functools.partial(fused, torch.bfloat16)
        own.append(Provider(name="rrl_kernels, bf16 logits", call=narrow))
    return [*own, *others, Provider(name="liger grpo", call=liger, package="liger_kernel")]


def main(arguments: Sequence[str] | None = None) -> None:
    """The head of a 135M model on a CPU, of a 1.5B and a 7B model on a GPU; all tokens teach, or half of them."""
    bench = start(__doc__ or "", arguments)
    gpu = bench.device.type == "cuda"
    sizes = [(16384, 2048, 151936), (16384, 4096, 131072)] if gpu else [(1024, 576, 49152)]
    dtype, checked = (torch.bfloat16, 512) if gpu else (torch.float32, 64)
    for size in sizes:
        bench.run(case(*size, "peaked", dtype, 0.0, checked), providers(bench))
    bench.run(case(512, 256, 16384, "random", dtype, 0.0, 64), providers(bench))
    half = (16384, 2048, 151936) if gpu else (512, 256, 16384)
    bench.run(case(*half, "peaked", dtype, 0.5, checked), providers(bench))


if __name__ == "__main__":
    main()
