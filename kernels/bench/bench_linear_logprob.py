"""Log-probability and entropy of given tokens from hidden states: scoring alone, and with both gradients.

python kernels/bench/bench_linear_logprob.py --out kernels/bench/results/cpu_linear_logprob.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from harness import Case, Outputs, Sample, start
from inputs import states_and_targets
from peers import naive, scoring, scoring_providers, widened

MODES = ("forward", "full", "full, no entropy")


def case(mode: str, tokens: int, width: int, vocab: int, kind: str, dtype: torch.dtype, checked: int) -> Case:
    """One size and mode; the errors are those of ``checked`` tokens, all outputs in float64 being too large."""

    def sample(generator: torch.Generator, num: int = tokens) -> dict[str, Any]:
        hidden, weight, targets = states_and_targets(kind, num, width, vocab, dtype, generator)
        d_logprob, d_entropy = torch.randn(2, num, device=generator.device, generator=generator) / num
        return {"hidden": hidden, "weight": weight, "targets": targets, "d_logprob": d_logprob, "d_entropy": d_entropy}

    def truth(s: Sample) -> Outputs:
        return scoring(naive, mode, widened(s))

    forward = mode.startswith("forward")
    size_of = dtype.itemsize
    return Case(
        op="linear_logprob", mode=mode, size=f"T={tokens} H={width} V={vocab}", inputs=kind,
        dtype=str(dtype).removeprefix("torch."), sample=sample, sample_bytes=(tokens + vocab) * width * size_of,
        flops=(2.0 if forward else 6.0) * tokens * width * vocab,
        bytes=float((1 if forward else 2) * (tokens + vocab) * width * size_of), truth=truth,
        check=lambda generator: sample(generator, checked),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The head of a 135M model on a CPU, of a 1.5B and a 7B model on a GPU."""
    bench = start(__doc__ or "", arguments)
    gpu = bench.device.type == "cuda"
    sizes = [(16384, 2048, 151936), (16384, 4096, 131072)] if gpu else [(512, 576, 49152)]
    dtype, checked = (torch.bfloat16, 512) if gpu else (torch.float32, 64)
    for size in sizes:
        for mode in MODES:
            known = scoring_providers(mode)
            if not gpu:  # 9 s a call there: torch's own is measured at the small size below
                known = [p for p in known if p.name != "torch linear_cross_entropy"]
            bench.run(case(mode, *size, "peaked", dtype, checked), known)
    for mode in MODES[1:]:
        bench.run(case(mode, 512, 256, 16384, "random", dtype, 64), scoring_providers(mode))


if __name__ == "__main__":
    main()
