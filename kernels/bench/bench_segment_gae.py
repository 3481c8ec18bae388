"""GAE over packed rows against a Python loop in time (batched over rows) and TorchRL's vectorised one.

python kernels/bench/bench_segment_gae.py --out kernels/bench/results/cpu_segment_gae.csv
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from harness import Case, Outputs, Provider, Sample, start
from rows import GAMMA, LAM, first_two, following, sample, shapes, two_rows
from torch import Tensor

from rrl_kernels import segments
from rrl_kernels.scan import reference


def case(name: str, lengths: Tensor) -> Case:
    """One shape. Floor: two numbers read and two written a token."""

    def truth(s: Sample) -> Outputs:
        columns, offsets, final = two_rows(s)
        lam = torch.full((2,), LAM, dtype=torch.float64)
        advantage = reference.gae(columns["reward"], columns["value"], offsets, final, GAMMA, lam)
        return {"advantage": advantage, "target": advantage + columns["value"]}

    total = int(lengths.sum())
    return Case(
        op="segment_gae", mode="forward", size=name, inputs="random", dtype="float32", sample_bytes=8 * total,
        sample=lambda generator: sample(lengths, ("reward", "value"), generator), flops=5.0 * total,
        bytes=16.0 * total, truth=truth,
    )


def ours(s: Sample) -> Outputs:
    """Packed rows, whatever their lengths."""
    reward, value = s["packed"]["reward"], s["packed"]["value"]
    advantage, target = segments.segment_gae(
        reward, value, s["offsets"], gamma=GAMMA, lam=LAM, bootstrap_value=s["final"]
    )
    return {"advantage": advantage[: s["few"]], "target": target[: s["few"]]}


def looped(s: Sample) -> Outputs:
    """verl's and others' loop: one step in time for all rows; right only where all rows are equally long."""
    reward, value = s["grid"]["reward"], s["grid"]["value"]
    advantage, carry, after = torch.zeros_like(value), torch.zeros_like(s["final"]), s["final"]
    for u in range(value.shape[1] - 1, -1, -1):
        carry = reward[:, u] + GAMMA * after - value[:, u] + GAMMA * LAM * carry
        advantage[:, u], after = carry, value[:, u]
    target = advantage + value
    return {"advantage": first_two(s, advantage), "target": first_two(s, target)}


def torchrl(s: Sample) -> Outputs:
    """TorchRL's convolution over padded rows; likewise."""
    from torchrl.objectives.value.functional import vec_generalized_advantage_estimate

    columns = (s["grid"]["value"][..., None], following(s)[..., None], s["grid"]["reward"][..., None])
    no_end = torch.zeros_like(s["end"])
    advantage, target = vec_generalized_advantage_estimate(GAMMA, LAM, *columns, s["end"], no_end)
    return {"advantage": first_two(s, advantage[..., 0]), "target": first_two(s, target[..., 0])}


def rl_triton(s: Sample) -> Outputs:
    """rl-triton's scan over a grid (on no package index; its source on the path); right where rows are equally long."""
    from rl_triton import compute_gae

    reward, value = s["grid"]["reward"], s["grid"]["value"]
    no_end = torch.zeros_like(value)
    advantage = compute_gae(reward, value, no_end, gamma=GAMMA, lambda_=LAM, last_value=s["final"])
    return {"advantage": first_two(s, advantage), "target": first_two(s, advantage + value)}


PROVIDERS = [
    Provider(name="rrl_kernels", call=ours), Provider(name="naive torch", call=looped),
    Provider(name="torchrl", call=torchrl, package="torchrl"),
    Provider(name="rl-triton", call=rl_triton, package="rl-triton", cuda_only=True),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Equal, ragged and short rows."""
    bench = start(__doc__ or "", arguments)
    for name, lengths in shapes(bench.device).items():
        bench.run(case(name, lengths), PROVIDERS)


if __name__ == "__main__":
    main()
