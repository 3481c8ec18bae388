"""Other people's stores under the same load, for ``store_scale``: what each can do of add, draw, rescore and evict."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

TOKENS, BATCHES, MAX_PADDED = 300, (64, 512), 300
Figures = Iterator[tuple[str, int, float, str]]


def timed(action: Callable[[], Any], times: int) -> float:
    """Median milliseconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begun) * 1000.0)
    return statistics.median(taken)


def tokens_of(rng: np.random.Generator, num: int) -> np.ndarray:
    return rng.integers(1, 30_000, (num, TOKENS), dtype=np.int32)


def sqlite(entries: int, times: int) -> Figures:
    """WAL, one row an entry: 20 numbers and the tokens as a blob. A draw reads all weights and races in numpy."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "store.db"
        db = sqlite3.connect(path)
        db.execute("pragma journal_mode=wal")
        numbers = ", ".join(f"n{i} real" for i in range(20))
        db.execute(f"create table s (id integer primary key, weight real, {numbers}, tokens blob)")
        marks = ", ".join("?" * 23)

        def rows(first: int, num: int) -> list[tuple[Any, ...]]:
            x, t, w = rng.random(20).tolist(), tokens_of(rng, num), rng.random(num).tolist()
            return [(first + i, w[i], *x, t[i].tobytes()) for i in range(num)]

        for first in range(0, entries, 10_000):
            db.executemany(f"insert into s values ({marks})", rows(first, min(10_000, entries - first)))
        db.commit()
        size = sum(p.stat().st_size for p in Path(scratch).iterdir())
        yield "disk", 0, size / entries, "B an entry"
        last = entries
        for batch in BATCHES:
            def add(batch: int = batch) -> None:
                nonlocal last
                db.executemany(f"insert into s values ({marks})", rows(last, batch))
                db.commit()
                last += batch

            def draw(batch: int = batch) -> None:
                ids, weight = (np.array(c) for c in zip(*db.execute("select id, weight from s"), strict=True))
                some = ids[np.argpartition(rng.exponential(size=len(weight)) / weight, batch)[:batch]].tolist()
                db.execute(f"select tokens from s where id in ({', '.join('?' * batch)})", some).fetchall()

            def rescore(batch: int = batch) -> None:
                some = rng.choice(entries // 2, batch, replace=False) + entries // 4
                db.executemany("update s set weight = ? where id = ?", [(0.5, int(i)) for i in some])
                db.commit()

            yield "draw", batch, timed(draw, 2), "ms"
            yield "rescore", batch, timed(rescore, times), "ms"
            yield "add", batch, timed(add, times), "ms"

            def evict(batch: int = batch) -> None:
                db.execute("delete from s where id in (select id from s order by weight limit ?)", (batch,))
                db.commit()

            yield "evict", batch, timed(evict, 2), "ms"
        db.close()


def lmdb_store(entries: int, times: int) -> Figures:
    """One value an entry: weight, 20 numbers, tokens. A draw by weight would scan all; fetching by key is timed."""
    import lmdb

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        env = lmdb.open(scratch, map_size=8 << 30)
        numbers = rng.random(21).tobytes()

        def put(first: int, num: int) -> None:
            flat = tokens_of(rng, num)
            with env.begin(write=True) as txn:
                for i in range(num):
                    txn.put((first + i).to_bytes(8, "big"), numbers + flat[i].tobytes())

        for first in range(0, entries, 10_000):
            put(first, min(10_000, entries - first))
        yield "disk", 0, sum(p.stat().st_blocks * 512 for p in Path(scratch).iterdir()) / entries, "B an entry"
        last = entries
        for batch in BATCHES:
            def add(batch: int = batch) -> None:
                nonlocal last
                put(last, batch)
                last += batch

            def fetch(batch: int = batch) -> None:
                with env.begin() as txn:
                    for i in rng.integers(0, entries, batch).tolist():
                        np.frombuffer(txn.get(i.to_bytes(8, "big"))[168:], dtype=np.int32).tolist()

            def rescore(batch: int = batch) -> None:
                with env.begin(write=True) as txn:
                    for i in rng.integers(0, entries, batch).tolist():
                        key = i.to_bytes(8, "big")
                        txn.put(key, numbers[:8] + txn.get(key)[8:])

            def evict(batch: int = batch) -> None:
                with env.begin(write=True) as txn:
                    for i in range(last - batch, last):
                        txn.delete(i.to_bytes(8, "big"))

            yield "fetch by key", batch, timed(fetch, times), "ms"
            yield "rescore", batch, timed(rescore, times), "ms"
            yield "add", batch, timed(add, times), "ms"
            yield "evict by key", batch, timed(evict, 1), "ms"
        env.close()


def torchrl_store(entries: int, times: int) -> Figures:
    """LazyTensorStorage; full, so that adding takes the oldest's place. Its PrioritizedSampler is timed where its
    compiled sum tree loads, else its uniform draw."""
    import torch
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.data.replay_buffers.samplers import PrioritizedSampler, RandomSampler

    before = psutil.Process().memory_info().rss
    sampler: Any
    try:
        sampler, drawn = PrioritizedSampler(entries, alpha=1.0, beta=0.0), "draw"
    except RuntimeError:
        sampler, drawn = RandomSampler(), "draw uniformly"
    buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(entries), sampler=sampler, batch_size=64, priority_key="weight"
    )  # fmt: skip

    def some(num: int) -> Any:
        return TensorDict({"tokens": torch.randint(1, 30_000, (num, MAX_PADDED), dtype=torch.int32),
                           "numbers": torch.rand(num, 20, dtype=torch.float64), "weight": torch.rand(num)}, [num])

    for first in range(0, entries, 50_000):
        buffer.extend(some(min(50_000, entries - first)))
    yield "memory", 0, (psutil.Process().memory_info().rss - before) / entries, "B an entry"
    for batch in BATCHES:
        new, places, weights = some(batch), torch.randint(0, entries, (batch,)), torch.rand(batch)
        yield drawn, batch, timed(lambda b=batch: buffer.sample(b), times), "ms"
        if drawn == "draw":
            yield "rescore", batch, timed(lambda i=places, w=weights: buffer.update_priority(i, w), times), "ms"
        yield "evict oldest and add", batch, timed(lambda n=new: buffer.extend(n), times), "ms"


def cpprb_store(entries: int, times: int) -> Figures:
    """PrioritizedReplayBuffer; full, so that adding takes the oldest's place."""
    from cpprb import PrioritizedReplayBuffer

    before, rng = psutil.Process().memory_info().rss, np.random.default_rng(0)
    shapes = {"tokens": {"shape": MAX_PADDED, "dtype": np.int32}, "numbers": {"shape": 20, "dtype": np.float64}}
    buffer = PrioritizedReplayBuffer(entries, shapes, alpha=1.0)

    def some(num: int) -> dict[str, np.ndarray]:
        return {"tokens": tokens_of(rng, num), "numbers": rng.random((num, 20)), "priorities": rng.random(num)}

    for first in range(0, entries, 50_000):
        buffer.add(**some(min(50_000, entries - first)))
    yield "memory", 0, (psutil.Process().memory_info().rss - before) / entries, "B an entry"
    for batch in BATCHES:
        new, places, weights = some(batch), rng.integers(0, entries, batch), rng.random(batch)
        yield "draw", batch, timed(lambda b=batch: buffer.sample(b, beta=0.0), times), "ms"
        yield "rescore", batch, timed(lambda i=places, w=weights: buffer.update_priorities(i, w), times), "ms"
        yield "evict oldest and add", batch, timed(lambda n=new: buffer.add(**n), times), "ms"


PEERS = {"sqlite": sqlite, "lmdb": lmdb_store, "torchrl": torchrl_store, "cpprb": cpprb_store}
