"""Clocks, memory and ceilings: what a call costs, and what the machine could do at most."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

CPU = torch.device("cpu")
SMALL_BYTES = 50_000_000  # below it a working set may stay in an H100's second-level cache from call to call


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """Of this machine, measured in this run on random data: products in tflops, copies in gbps (read + write)."""

    tflops: float
    gbps: float


def ceilings(device: torch.device) -> Ceilings:
    """bfloat16 products of 8192^3 and a copy of 1 GiB on a GPU; float32 1024^3 and 256 MiB on a CPU."""
    cuda = device.type == "cuda"
    n, dtype, megabytes = (8192, torch.bfloat16, 1024) if cuda else (1024, torch.float32, 256)
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(a)
    best = min(timed(lambda: torch.mm(a, b, out=product), device)[0] for _ in range(20))
    source = torch.randn(megabytes << 18, device=device)
    target = torch.empty_like(source)
    copy = min(timed(lambda: target.copy_(source), device)[0] for _ in range(20))
    return Ceilings(tflops=2 * n**3 / best / 1e12, gbps=2 * source.nbytes / copy / 1e9)


def timed(call: Callable[[], Any], device: torch.device, *, wait_s: float = 0.0) -> tuple[float, float, Any]:
    """(seconds on the device, seconds of the whole call from a quiet device, what it returned).

    wait_s: keep a GPU busy this long first, so that launches are queued before the first of them starts and the time
    on the device holds no gap in which it waited for the host. The whole call is then not meaningful.
    """
    if device.type != "cuda":
        start = time.perf_counter()
        out = call()
        seconds = time.perf_counter() - start
        return seconds, seconds, out
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(device)
    if wait_s:
        torch.cuda._sleep(int(wait_s * 1.5e9))  # type: ignore[no-untyped-call]  # cycles; clocks are below 2 GHz
    start = time.perf_counter()
    first.record()
    out = call()
    last.record()
    torch.cuda.synchronize(device)
    return first.elapsed_time(last) * 1e-3, time.perf_counter() - start, out


def peak_mib(call: Callable[[], Any], device: torch.device = CPU) -> float:
    """Largest amount of memory that was allocated at once during the call over what was before it, in MiB.

    GPU: the caching allocator's own count. CPU: every event of torch's allocator, by the profiler; scratch that a
    library takes for itself is not seen.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True, acc_events=True) as profile:
        call()
    recorded = profile.profiler.kineto_results.events()
    events = sorted((e.start_ns(), e.nbytes()) for e in recorded if e.name() == "[memory]")
    now = peak = 0
    for _, num_bytes in events:
        now += num_bytes
        peak = max(peak, now)
    return peak / 2**20


def errors(found: dict[str, torch.Tensor], truth: dict[str, torch.Tensor]) -> tuple[float, float]:
    """(largest absolute, largest of norm(found - truth) / norm(truth)) over the named outputs, in float64."""
    if found.keys() != truth.keys():
        raise ValueError(f"outputs are {sorted(found)}; expected those of the truth, {sorted(truth)}")
    absolute = relative = 0.0
    for name, right in truth.items():
        gap = found[name].double().to(right.device) - right.double()
        absolute = max(absolute, float(gap.abs().max()))
        relative = max(relative, float(gap.norm() / right.double().norm().clamp(min=1e-300)))
    return absolute, relative


def copies(num_bytes: int) -> int:
    """How many sets of inputs to rotate so that none is found in a cache; 1 for what no cache holds anyway."""
    return 1 if num_bytes >= SMALL_BYTES else min(64, math.ceil(2 * SMALL_BYTES / max(1, num_bytes)))


def quantile(numbers: list[float], q: float) -> float:
    """By the nearest rank."""
    return sorted(numbers)[min(len(numbers) - 1, int(q * len(numbers)))]
