"""Advantages against the other rows of a start, and whitening inside segments.

python kernels/bench/bench_group_advantage.py --out kernels/bench/results/cpu_group_advantage.csv
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from harness import Case, Outputs, Provider, Sample, start
from torch import Tensor

from rrl_kernels import segments
from rrl_kernels.group import reference

FEW = 4  # groups that are compared with the float64 loop
EPS = 1e-6


def case(op: str, num_groups: int, size: int) -> Case:
    """Groups of equal size whose rows stand in a shuffled order. Floor: one number read and one written a row."""
    num = num_groups * size

    def sample(generator: torch.Generator) -> dict[str, Any]:
        device = generator.device
        x = torch.randn(num, generator=generator, device=device)
        order = torch.randperm(num, generator=generator, device=device)
        group = torch.empty(num, dtype=torch.int64, device=device)
        group[order] = torch.arange(num_groups, device=device).repeat_interleave(size)
        # the table [G, size] that trainers keep where all groups are full and in order
        return {"x": x, "group": group, "num": num_groups, "table": x[order].view(num_groups, size), "order": order}

    def truth(s: Sample) -> Outputs:
        rows = s["order"][: FEW * size]
        x, group = s["x"][rows].cpu().double(), s["group"][rows].cpu()
        if op == "whiten":
            return {"out": reference.whiten(x, group, FEW, EPS)}
        return {"out": reference.group_advantage(x, group, FEW, "grpo", EPS)}

    return Case(
        op=op, mode="forward", size=f"{num_groups}x{size}", inputs="random", dtype="float32", sample=sample,
        sample_bytes=12 * num, flops=0.0, bytes=8.0 * num, truth=truth,
    )


def _few(s: Sample, out: Tensor) -> Outputs:
    return {"out": out[s["order"][: FEW * s["table"].shape[1]]]}


def ours(s: Sample) -> Outputs:
    """Rows in any order, groups of any size."""
    return _few(s, segments.group_advantage(s["x"], s["group"], s["num"], kind="grpo", eps=EPS).advantage)


def our_whitening(s: Sample) -> Outputs:
    """Likewise."""
    return _few(s, segments.whiten(s["x"], s["group"], s["num"], eps=EPS))


def looped(s: Sample) -> Outputs:
    """verl's first form: a dictionary of lists of scores, one tensor and one standard deviation a group."""
    return _few(s, _by_dictionary(s, 1))


def looped_whitening(s: Sample) -> Outputs:
    """The same loop with the population's standard deviation."""
    return _few(s, _by_dictionary(s, 0))


def _by_dictionary(s: Sample, correction: int) -> Tensor:
    scores, mean, std = defaultdict(list), {}, {}
    ids = s["group"].tolist()
    for place, group in enumerate(ids):
        scores[group].append(s["x"][place])
    for group, numbers in scores.items():
        together = torch.stack(numbers)
        mean[group], std[group] = together.mean(), together.std(correction=correction)
    return torch.stack([(s["x"][i] - mean[g]) / (std[g] + EPS) for i, g in enumerate(ids)])


def vectorised(s: Sample) -> Outputs:
    """verl's second form: ids made dense by unique, sums by bincount."""
    _, dense = torch.unique(s["group"], return_inverse=True)
    count = torch.bincount(dense).clamp(min=1)
    mean = torch.bincount(dense, weights=s["x"].double()) / count
    centred = s["x"].double() - mean[dense]
    std = (torch.bincount(dense, weights=centred.square()) / (count - 1).clamp(min=1)).sqrt()
    return _few(s, (centred / (std[dense] + EPS)).float())


def tabled(s: Sample) -> Outputs:
    """TRL's: the rows lie as a full table [G, size] already, so there is nothing to look up."""
    table = s["table"]
    out = (table - table.mean(1, keepdim=True)) / (table.std(1, keepdim=True) + EPS)
    return {"out": out.view(-1)[: FEW * table.shape[1]]}


def tabled_whitening(s: Sample) -> Outputs:
    """Likewise."""
    table = s["table"]
    out = (table - table.mean(1, keepdim=True)) / (table.std(1, keepdim=True, correction=0) + EPS)
    return {"out": out.view(-1)[: FEW * table.shape[1]]}


GROUP = [
    Provider(name="rrl_kernels", call=ours), Provider(name="naive torch", call=looped),
    Provider(name="unique and bincount", call=vectorised), Provider(name="full table only", call=tabled),
]
WHITEN = [
    Provider(name="rrl_kernels", call=our_whitening), Provider(name="naive torch", call=looped_whitening),
    Provider(name="full table only", call=tabled_whitening),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """A step's rows (128 starts of 8), many rows, and tokens as whitening sees them."""
    bench = start(__doc__ or "", arguments)
    bench.run(case("group_advantage", 128, 8), GROUP)
    bench.run(case("whiten", 128, 12), WHITEN)
    # A dictionary of so many rows takes seconds a call, and the record of its allocations gigabytes.
    fast_group, fast_whiten = ([p for p in known if p.name != "naive torch"] for known in (GROUP, WHITEN))
    for shape in ((4096, 16), (131072, 16))[: 2 if bench.device.type == "cuda" else 1]:
        bench.run(case("group_advantage", *shape), fast_group)
    bench.run(case("whiten", 16, 4096), fast_whiten)


if __name__ == "__main__":
    main()
