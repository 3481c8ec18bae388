"""A checkpoint of a large store: all of it, a step's change through the whole of a save, reading back, and the disk.

A store of ``--entries`` prefixes of 300 tokens is saved as a run saves it (``checkpoint.save`` and ``prune``, two kept
and the first besides), then 50 times after a step that adds 64 prefixes, books 512 rows and, every tenth time,
re-scores everything; and once more where the store is full, so that every addition evicts. The other rooms are left
out: they are written as ever.

    python -m tests.bench.checkpoint_delta --entries 1000000 --out docs/results/checkpoint_delta.csv
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rrl import checkpoint
from rrl.replay.segments import Turns
from rrl.replay.store import Store
from tests.bench.rows import write_csv
from tests.bench.store_scale import SLOTS, a_state, prefixes, proposals, put
from tests.unit.replay.builders import a_store

STEPS, BATCH, BOOKED, RESCORE_EVERY = 50, 64, 512, 10


class Peak:
    """Most memory that the process held meanwhile, above what it held before, in bytes."""

    def __enter__(self) -> Peak:
        self._process, self._over = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    @property
    def bytes(self) -> int:
        return self._most - self._before


def seconds(action: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def disk(run: Path) -> int:
    """Bytes of all files of a run, those of several names once."""
    stats = [path.stat() for path in run.rglob("*") if path.is_file()]
    return sum({stat.st_ino: stat.st_blocks * 512 for stat in stats}.values())


def measured(entries: int, full: bool, scratch: Path) -> Iterator[tuple[str, float, str]]:
    """(what, figure, unit)."""
    capacity = entries if full else 2 * entries
    store: Store = a_store(capacity=capacity, slots_per_problem=10 * SLOTS, dedup="ancestor")
    store.load_state_dict(a_state(entries))
    rng, fresh, owners = np.random.default_rng(1), iter(range(10**9)), entries // SLOTS
    run, turns = scratch / "run", Turns()
    whole = store.shelf.num_bytes

    def save(step: int) -> None:
        state = {"replay": {"store": turns.state(store, threading.RLock(), 2)}}
        checkpoint.save(run / "checkpoints" / f"step_{step:06d}", state, {"step": step})
        checkpoint.prune(run, 2)

    def timed_save(step: int) -> float:
        with Peak() as peak:
            taken = seconds(lambda: save(step))
        peaks.append(peak.bytes)
        return taken

    peaks = list[int]()
    taken = [timed_save(0), timed_save(1)]
    yield "store in memory", whole / 1e6, "MB"
    yield "first save", taken[0], "s"
    yield "second save, which begins the other line", taken[1], "s"
    steps, rescored = list[float](), list[float]()
    for step in range(2, 2 + STEPS):
        put(store, proposals(prefixes(owners, BATCH, fresh)))
        rows = store.shelf.all_rows()
        some = rows if step % RESCORE_EVERY == 0 else rng.choice(rows, BOOKED, replace=False)
        store.write_scores(some, rng.random(len(some)), rng.random(len(some)), step)
        os.sync()  # what others have yet to write is not ours
        (rescored if len(some) > BOOKED else steps).append(timed_save(step))
    yield "save of a step, median", statistics.median(steps), "s"
    yield "save of a step, 95th percentile", float(np.quantile(steps, 0.95)), "s"
    yield "save of a step, longest", max(steps), "s"
    yield "save after everything was re-scored, median", statistics.median(rescored), "s"
    yield "most memory of a save above what was held before it", max(peaks) / 1e6, "MB"
    folders = sorted((run / "checkpoints").iterdir())
    newest = folders[-1]
    own = sum(path.stat().st_size for path in newest.iterdir())
    yield "newest checkpoint, links counted in full", own / 1e6, "MB"
    yield "the same over the store", own / store.shelf.num_bytes, "times"
    yield "all three checkpoints on disk", disk(run) / 1e6, "MB"
    yield "the same over the store", disk(run) / store.shelf.num_bytes, "times"
    yield "files in the newest", float(len(list(newest.iterdir()))), ""
    expected = {name: store.shelf.columns[name][store.shelf.all_rows()] for name in ("key", "value", "score_step")}
    state: dict[str, Any] = {}
    yield "load, with all checksums", seconds(lambda: state.update(checkpoint.load(newest)[0])), "s"
    read = state["replay"]["store"]["shelf"]["columns"]
    assert all(np.array_equal(read[name], column) for name, column in expected.items())
    yield "load of it into a store", seconds(lambda: store.load_state_dict(state["replay"]["store"])), "s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for full in (False, True):
        with tempfile.TemporaryDirectory() as scratch:
            for what, figure, unit in measured(arguments.entries, full, Path(scratch)):
                row = {"entries": arguments.entries, "full": full, "what": what, "figure": f"{figure:.4g}",
                       "unit": unit}  # fmt: skip
                print(*row.values(), sep="\t", flush=True)
                rows.append(row)
    write_csv(arguments.out, rows)


if __name__ == "__main__":
    main()
