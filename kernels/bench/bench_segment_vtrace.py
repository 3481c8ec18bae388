"""V-trace targets over packed rows against a Python loop in time (batched over rows) and TorchRL's.

python kernels/bench/bench_segment_vtrace.py --out kernels/bench/results/cpu_segment_vtrace.csv
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from harness import Case, Outputs, Provider, Sample, start
from rows import GAMMA, first_two, following, sample, shapes, two_rows
from torch import Tensor

from rrl_kernels import segments
from rrl_kernels.scan import reference

COLUMNS = ("reward", "value", "new", "old")


def case(name: str, lengths: Tensor) -> Case:
    """One shape. Floor: four numbers read and three written a token."""

    def truth(s: Sample) -> Outputs:
        columns, offsets, final = two_rows(s)
        log_ratio = columns["new"] - columns["old"]
        target, advantage = reference.vtrace(
            columns["reward"], columns["value"], log_ratio, offsets, final, GAMMA, 1.0, 1.0, 1.0
        )
        return {"target": target, "advantage": advantage}

    total = int(lengths.sum())
    return Case(
        op="segment_vtrace", mode="forward", size=name, inputs="random", dtype="float32", sample_bytes=16 * total,
        sample=lambda generator: sample(lengths, COLUMNS, generator), flops=12.0 * total, bytes=28.0 * total,
        truth=truth,
    )


def ours(s: Sample) -> Outputs:
    """Packed rows, whatever their lengths."""
    x = s["packed"]
    got = segments.segment_vtrace(
        x["reward"], x["value"], x["new"], x["old"], s["offsets"], gamma=GAMMA, lam=1.0, rho_bar=1.0, c_bar=1.0,
        bootstrap_value=s["final"],
    )
    return {"target": got.value_target[: s["few"]], "advantage": got.advantage[: s["few"]]}


def looped(s: Sample) -> Outputs:
    """One step in time for all rows; right only where all rows are equally long."""
    reward, value = s["grid"]["reward"], s["grid"]["value"]
    weight = (s["grid"]["new"] - s["grid"]["old"]).clamp(-20.0, 20.0).exp()
    rho = c = weight.clamp(max=1.0)
    target, advantage = torch.zeros_like(value), torch.zeros_like(value)
    after = after_target = s["final"]
    for u in range(value.shape[1] - 1, -1, -1):
        delta = rho[:, u] * (reward[:, u] + GAMMA * after - value[:, u])
        advantage[:, u] = reward[:, u] + GAMMA * after_target - value[:, u]
        target[:, u] = value[:, u] + delta + GAMMA * c[:, u] * (after_target - after)
        after, after_target = value[:, u], target[:, u]
    return {"target": first_two(s, target), "advantage": first_two(s, advantage)}


def torchrl(s: Sample) -> Outputs:
    """TorchRL's loop over time; likewise. Its advantage carries rho, so only the target is compared."""
    from torchrl.objectives.value.functional import vtrace_advantage_estimate

    x, no_end = {k: grid[..., None] for k, grid in s["grid"].items()}, torch.zeros_like(s["end"])
    _, target = vtrace_advantage_estimate(
        GAMMA, x["new"], x["old"], x["value"], following(s)[..., None], x["reward"], no_end, no_end
    )
    after = torch.cat([target[:, 1:, 0], s["final"][:, None]], 1)
    advantage = s["grid"]["reward"] + GAMMA * after - s["grid"]["value"]
    return {"target": first_two(s, target[..., 0]), "advantage": first_two(s, advantage)}


def rl_triton(s: Sample) -> Outputs:
    """rl-triton's fused scan over a grid (on no package index; its source on the path). Its advantage carries rho."""
    from rl_triton.ops.vtrace_fused import compute_vtrace_fused

    x = s["grid"]
    target, _ = compute_vtrace_fused(
        x["new"], x["old"], x["value"], x["reward"], torch.zeros_like(x["value"]), gamma=GAMMA, last_value=s["final"]
    )
    after = torch.cat([target[:, 1:], s["final"][:, None]], 1)
    return {"target": first_two(s, target), "advantage": first_two(s, x["reward"] + GAMMA * after - x["value"])}


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
