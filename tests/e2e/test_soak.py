"""A run whose store is full costs at its end what it cost in its middle, and holds no more."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from tests.bench.soak import PHASES, watched


@pytest.mark.slow
def test_with_a_full_store_neither_memory_nor_files_nor_the_cost_of_a_step_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rrl import clock

    monkeypatch.setattr(clock, "time", clock.time)  # put back what the soak changes
    often = ["evaluate.every_steps=50", "run.checkpoint_every=50"]
    samples = watched(600, tmp_path, ["replay.store.capacity=128", *often])
    middle, end = samples[20:40], samples[40:]
    assert {s.store_size for s in middle + end} == {128}
    assert len({(s.open_files, s.threads) for s in middle + end}) == 1
    held = [statistics.median(s.rss_mib for s in part) for part in (middle, end)]
    assert held[1] < 1.01 * held[0]
    cost = [statistics.median(s.yards for s in part) for part in (middle, end)]
    assert cost[1] < 1.2 * cost[0]
    assert sum(getattr(end[-1], f"{name}_ms") for name in PHASES) > 0.5 * end[-1].cpu_ms  # the phases were told
