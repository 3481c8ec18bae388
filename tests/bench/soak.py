"""Thousands of steps of one small run in one process: does memory, step time or the number of open files grow?

Trains the default house (replay on from the first step, checkpoints, metrics.jsonl, evaluations) and writes down every
ten steps what the process holds, and what each phase of a step cost. A straight line is fitted to the second half.
With a small store that is full early, nothing but steps can grow:

    python -m tests.bench.soak --steps 2000 --out docs/results/soak.csv        # soak.png beside it
    python -m tests.bench.soak --steps 2000 --out docs/results/soak_full.csv replay.store.capacity=256
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

EVERY = 10
RUN = (
    "run.token_budget=1000000000", "run.starts_per_step=32", "run.warm_up.batches=5", "run.warm_up.starts=32",
    "run.checkpoint_every=100", "evaluate.every_steps=100", "evaluate.dense_until=0", "replay/schedule=constant",
    "warm_start.steps=250", "tracker=[jsonl]",
)  # fmt: skip


PHASES = ("rescore", "draw", "rollout", "score", "estimate", "observe", "learn", "fit", "evaluate")


class Sample(NamedTuple):
    """What the process held after ``step``. cpu_ms, wall_ms: of a step, medians of the last ten; other jobs of the
    machine move the second, and the first as well: they take its caches. yardstick_ms: CPU of a piece of work that is
    always the same, done after each of the ten; yards: a step in units of it, which takes the machine out.
    tokens: sampled in a step, mean of the last ten; so are the phases below, in ms of CPU. others_ms: what is in no
    phase: records, the yardstick and, every hundredth step, a checkpoint."""

    step: int
    rss_mib: float
    cpu_ms: float
    wall_ms: float
    yardstick_ms: float
    yards: float
    open_files: int
    threads: int
    store_size: int
    tokens: float
    rescore_ms: float
    draw_ms: float
    rollout_ms: float
    score_ms: float
    estimate_ms: float
    observe_ms: float
    learn_ms: float
    fit_ms: float
    evaluate_ms: float
    others_ms: float


class _Enough(Exception):
    """All steps are done."""


def watched(steps: int, folder: Path, overrides: Sequence[str] = ()) -> list[Sample]:
    """Train and sample."""
    import torch

    from rrl import clock, loop
    from rrl.records import Progress
    from rrl.saver import Saver, first_progress
    from tests.small import small_house

    torch.set_num_threads(1)
    clock.time = SimpleNamespace(perf_counter=time.process_time)  # type: ignore[assignment]  # phases in CPU time
    house = small_house(folder / "run", *RUN, *overrides)
    saver, samples = Saver(house, folder / "run", {}), list[Sample]()
    began, cpu, wall, yard = [_clocks()], list[float](), list[float](), list[float]()
    told = folder / "run" / "metrics.jsonl"
    read = [0, 0]  # bytes of the records, and sampled tokens, up to the last sample

    def phases(progress: Progress) -> dict[str, float]:
        with open(told, "rb") as lines:
            lines.seek(read[0])
            new = [json.loads(line) for line in lines]
        tokens, read[:] = progress.sampled_tokens - read[1], [told.stat().st_size, progress.sampled_tokens]
        each = {f"{name}_ms": sum(r.get(f"time/{name}_s", 0.0) for r in new) / len(new) * 1e3 for name in PHASES}
        whole = sum(r["time/step_s"] for r in new) / len(new) * 1e3
        return {"tokens": tokens / len(new)} | each | {"others_ms": whole - sum(each.values())}

    def after(progress: Progress) -> None:
        for took, now, before in zip((cpu, wall), _clocks(), began[0], strict=True):
            took.append((now - before) * 1e3)
        yard.append(_yardstick())
        if progress.step % EVERY == 0 and progress.step > 0:
            medians = [statistics.median(took[-EVERY:]) for took in (cpu, wall, yard)]
            samples.append(_held(progress.step, *medians, store_size=len(house.replay.store), **phases(progress)))
        saver.after_step(progress)
        if progress.step == steps:
            raise _Enough
        began[0] = _clocks()

    with suppress(_Enough):
        loop.train(house, loop.warm_up(house, first_progress(house.run), after), after)
    return samples


def _clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _yardstick() -> float:
    """CPU of some forwards and backwards of a small network and of some Python, as a step is made of them, in ms."""
    import torch

    begin, x = time.process_time(), torch.full((64, 64), 0.01, requires_grad=True)
    for _ in range(10):
        torch.tanh(x @ x).softmax(dim=-1).square().sum().backward()
        sum(i * i for i in range(2000))
    return (time.process_time() - begin) * 1e3


def _held(
    step: int, cpu_ms: float, wall_ms: float, yardstick_ms: float, *, store_size: int, **means: float
) -> Sample:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        step=step, rss_mib=round(pages * resource.getpagesize() / 2**20, 2), cpu_ms=round(cpu_ms, 2),
        wall_ms=round(wall_ms, 2), yardstick_ms=round(yardstick_ms, 3), yards=round(cpu_ms / yardstick_ms, 2),
        open_files=len(os.listdir("/proc/self/fd")) - 1,
        threads=threading.active_count(), store_size=store_size, **{k: round(x, 2) for k, x in means.items()},
    )  # fmt: skip


def slope(samples: list[Sample], name: str) -> float:
    """Least-squares slope of a column over the second half, a thousand steps."""
    half = samples[len(samples) // 2 :]
    return float(np.polyfit([s.step for s in half], [getattr(s, name) for s in half], 1)[0] * 1e3)


def table(samples: list[Sample]) -> str:
    """Medians of each quarter, and the slopes, a line a column: what docs/results/soak.md shows."""
    quarters = [samples[i * len(samples) // 4 : (i + 1) * len(samples) // 4] for i in range(4)]
    lines = []
    for name in Sample._fields[1:]:
        medians = [statistics.median(getattr(s, name) for s in quarter) for quarter in quarters]
        lines.append(f"{name:12s} " + " ".join(f"{x:9.2f}" for x in medians) + f"   {slope(samples, name):+9.3f}")
    return "\n".join(lines)


def draw(samples: list[Sample], out: Path) -> None:
    """Memory, CPU of a step and stored states over steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
    labels = {"rss_mib": "resident memory, MiB", "yards": "CPU of a step, yardsticks", "store_size": "stored states"}
    for panel, (name, label) in zip(panels, labels.items(), strict=True):
        panel.plot([s.step for s in samples], [getattr(s, name) for s in samples], lw=1)
        panel.set(xlabel="step", title=label, ylim=(0, None))
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("overrides", nargs="*", help="changes to the house, e.g. replay.store.capacity=256")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = watched(args.steps, Path(folder), args.overrides)
    with open(args.out, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(Sample._fields)
        writer.writerows(samples)
    draw(samples, args.out.with_suffix(".png"))
    grown = {name: slope(samples, name) for name in ("rss_mib", "cpu_ms", "yards", "open_files")}
    print(f"{samples[-1].step} steps; of the second half, a thousand steps: "
          + ", ".join(f"{name} {x:+.3f}" for name, x in grown.items()))  # fmt: skip
    print(table(samples))
    print(f"memory {samples[len(samples) // 2].rss_mib} MiB in the middle, {samples[-1].rss_mib} at the end; "
          f"store {samples[-1].store_size} states")  # fmt: skip
    half = samples[len(samples) // 2 :]
    same = len({(s.open_files, s.threads) for s in half}) == 1
    typical = statistics.median(s.yards for s in half)
    flat = grown["rss_mib"] < 0.01 * half[0].rss_mib and grown["yards"] < 0.1 * typical and same
    print(f"{'flat' if flat else 'NOT flat'}: a step takes {typical:.1f} yardsticks, {half[0].open_files} open files")
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
