"""Thousands of steps of one small run in one process: does memory, step time or the number of open files grow?

Trains the default house (replay on from the first step, checkpoints, metrics.jsonl, evaluations) and writes down every
ten steps what the process holds. A straight line is fitted to the second half, where caches and the store are full.

    python -m tests.bench.soak --steps 2000 --out docs/results/soak.csv        # soak.png beside it
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

EVERY = 10
RUN = (
    "run.token_budget=1000000000", "run.starts_per_step=32", "run.warm_up.batches=5", "run.warm_up.starts=32",
    "run.checkpoint_every=100", "evaluate.every_steps=100", "evaluate.dense_until=0", "replay/schedule=constant",
    "warm_start.steps=250", "tracker=[jsonl]",
)  # fmt: skip


class Sample(NamedTuple):
    """What the process held after ``step``. cpu_ms, wall_ms: of a step, medians of the last ten; other jobs of the
    machine move the second."""

    step: int
    rss_mib: float
    cpu_ms: float
    wall_ms: float
    open_files: int
    threads: int
    store_size: int


class _Enough(Exception):
    """All steps are done."""


def watched(steps: int, folder: Path) -> list[Sample]:
    """Train and sample."""
    import torch

    from rrl import loop
    from rrl.records import Progress
    from rrl.saver import Saver, first_progress
    from tests.small import small_house

    torch.set_num_threads(1)
    house = small_house(folder / "run", *RUN)
    saver, samples = Saver(house, folder / "run", {}), list[Sample]()
    began, cpu, wall = [_clocks()], list[float](), list[float]()

    def after(progress: Progress) -> None:
        for took, now, before in zip((cpu, wall), _clocks(), began[0], strict=True):
            took.append((now - before) * 1e3)
        if progress.step % EVERY == 0 and progress.step > 0:
            medians = [statistics.median(took[-EVERY:]) for took in (cpu, wall)]
            samples.append(_held(progress.step, *medians, store_size=len(house.replay.rows())))
        saver.after_step(progress)
        if progress.step == steps:
            raise _Enough
        began[0] = _clocks()

    with suppress(_Enough):
        loop.train(house, loop.warm_up(house, first_progress(house.run), after), after)
    return samples


def _clocks() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def _held(step: int, cpu_ms: float, wall_ms: float, store_size: int) -> Sample:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        step=step, rss_mib=round(pages * resource.getpagesize() / 2**20, 2), cpu_ms=round(cpu_ms, 2),
        wall_ms=round(wall_ms, 2), open_files=len(os.listdir("/proc/self/fd")) - 1,
        threads=threading.active_count(), store_size=store_size,
    )  # fmt: skip


def slope(samples: list[Sample], name: str) -> float:
    """Least-squares slope of a column over the second half, a thousand steps."""
    half = samples[len(samples) // 2 :]
    return float(np.polyfit([s.step for s in half], [getattr(s, name) for s in half], 1)[0] * 1e3)


def draw(samples: list[Sample], out: Path) -> None:
    """Memory, step time and open files over steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
    labels = {"rss_mib": "resident memory, MiB", "cpu_ms": "CPU of a step, ms", "open_files": "open files"}
    for panel, (name, label) in zip(panels, labels.items(), strict=True):
        panel.plot([s.step for s in samples], [getattr(s, name) for s in samples], lw=1)
        panel.set(xlabel="step", title=label, ylim=(0, None))
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = watched(args.steps, Path(folder))
    with open(args.out, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(Sample._fields)
        writer.writerows(samples)
    draw(samples, args.out.with_suffix(".png"))
    grown = {name: slope(samples, name) for name in ("rss_mib", "cpu_ms", "wall_ms", "open_files")}
    print(f"{samples[-1].step} steps; of the second half, a thousand steps: "
          + ", ".join(f"{name} {x:+.3f}" for name, x in grown.items()))  # fmt: skip
    print(f"memory {samples[len(samples) // 2].rss_mib} MiB in the middle, {samples[-1].rss_mib} at the end; "
          f"store {samples[-1].store_size} states")  # fmt: skip
    half = samples[len(samples) // 2 :]
    same = len({(s.open_files, s.threads) for s in half}) == 1
    typical = statistics.median(s.cpu_ms for s in half)
    flat = grown["rss_mib"] < 0.01 * half[0].rss_mib and grown["cpu_ms"] < 0.1 * typical and same
    print(f"{'flat' if flat else 'NOT flat'}: {typical:.1f} ms of CPU a step, {half[0].open_files} open files")
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
