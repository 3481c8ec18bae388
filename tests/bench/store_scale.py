"""The store at a million prefixes: add, draw, rescore and evict, beside other people's stores.

Every arm holds the same number of prefixes of 300 tokens and the numbers of a state; a batch is of 64 or 512. Peers are
asked for the nearest thing that they have: SQLite and LMDB keep no weights in memory, so a draw in proportion to them
reads them all; cpprb and torchrl pad tokens and evict the oldest alone. Milliseconds are medians.

    python -m tests.bench.store_scale --entries 1000000 --out docs/results/store_scale.csv
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rrl.records import Prefix
from rrl.replay.problem_table import ProblemTable
from rrl.replay.shelf import COLUMNS
from rrl.replay.sleep import NEVER
from rrl.types import Problem
from tests.bench.store_peers import PEERS
from tests.unit.replay.builders import a_problem, a_replay, progress_at

TOKENS, SLOTS, BATCHES = 300, 16, (64, 512)


def rss() -> int:
    """Bytes that the process holds in memory."""
    return int(psutil.Process().memory_info().rss)


def median_ms(action: Callable[[], Any], times: int) -> float:
    """Median milliseconds of ``times`` calls, after one that warms up."""
    action()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1000.0


def a_state(entries: int) -> dict[str, Any]:
    """The saved state of a store of this many entries, as ``Store.state_dict`` gives it."""
    rng, owners = np.random.default_rng(0), -(-entries // SLOTS)
    columns = {name: np.zeros(entries, dtype=dtype) for name, dtype in COLUMNS.items() if name != "offset"}
    columns["key"] = rng.integers(1, 2**63, entries).astype(np.uint64)
    columns["problem"] = np.arange(entries) // SLOTS
    columns["length"], columns["depth"] = np.full(entries, TOKENS), np.full(entries, TOKENS)
    columns["value"] = columns["born_value"] = rng.random(entries)
    columns["depth_frac"], columns["born_frac"] = rng.random(entries), rng.random(entries)
    columns["sleep_until"] = np.full(entries, NEVER)
    problems = ProblemTable(retire_at=0.5, reopen_below=0.3)
    for number in range(owners):
        problems.number(a_problem(f"p{number}", max_response=1000))
    tokens = rng.integers(1, 30_000, entries * TOKENS, dtype=np.int32)
    return {"shelf": {"tokens": tokens, "columns": columns}, "problems": problems.state_dict(range(owners)), "step": 0,
            "last_evicted_problem": -1}  # fmt: skip


def proposals(owners: int, batch: int, fresh: Iterator[int]) -> list[tuple[Prefix, str]]:
    """Prefixes of 300 tokens with their keys, of problems that own states already."""
    rng, made = np.random.default_rng(next(fresh)), []
    for number in rng.integers(0, owners, batch).tolist():
        tokens = tuple(rng.integers(1, 30_000, TOKENS).tolist())
        problem: Problem = a_problem(f"p{number}", max_response=1000)
        prefix = Prefix(problem=problem, tokens=tokens, origin="rollout", born_step=1, born_value=0.9999,
                        depth_frac=0.5, parent="0" * 16)
        made.append((prefix, prefix.key))
    return made


def ours(entries: int, times: int) -> Iterator[tuple[str, int, float, str]]:
    """(operation, batch, figure, unit) of our store."""
    before = rss()
    replay = a_replay(
        store={"capacity": entries + 100 * 576 * (times + 1), "slots_per_problem": 10 * SLOTS, "dedup": "ancestor"},
        schedule=("constant", {"rho": 1.0}), max_replay_frac=1.0, eps_uniform=0.2,
    )  # fmt: skip
    store, fresh = replay.store, iter(range(10**9))
    store.load_state_dict(a_state(entries))
    yield "memory", 0, (rss() - before) / entries, "B an entry"
    owners, rng = entries // SLOTS, np.random.default_rng(1)
    for batch in BATCHES:
        step = iter(range(1, 10**6))
        yield "draw", batch, median_ms(lambda b=batch, s=step: replay.draw(progress_at(next(s) % 40), b), times), "ms"
        rows = [rng.choice(entries, batch, replace=False) for _ in range(times + 1)]
        give, scores = iter(rows), rng.random(batch)
        yield "rescore", batch, median_ms(lambda g=give, v=scores: store.write_scores(next(g), v, v, 1), times), "ms"
        for op, capacity in (("add", store._capacity), ("evict and add", len(store))):
            kept, store._capacity = store._capacity, capacity
            waiting = iter([proposals(owners, batch, fresh) for _ in range(times + 1)])

            def put(waiting: Iterator[list[tuple[Prefix, str]]] = waiting) -> None:
                for prefix, key in next(waiting):
                    store.add(prefix, key, done_frac=0.6, parent_reward=0.0, td=0.0, quarantined=False)

            yield op, batch, median_ms(put, times), "ms"
            store._capacity = kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--only", default="", help="arms, comma between them")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arms: dict[str, Any] = {"rrl": ours} | PEERS
    with open(arguments.out, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["store", "entries", "operation", "batch", "figure", "unit"])
        for name in arguments.only.split(",") if arguments.only else arms:
            for operation, batch, figure, unit in arms[name](arguments.entries, arguments.times):
                row = [name, arguments.entries, operation, batch, f"{figure:.4g}", unit]
                print(*row, sep="\t", flush=True)
                writer.writerow(row)
                handle.flush()


if __name__ == "__main__":
    main()
