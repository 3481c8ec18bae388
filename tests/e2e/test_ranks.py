"""Two processes train as one does: the same tokens, the same store, the same parameters."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


def run_ranks(size: int, folder: Path) -> dict[str, list]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    jobs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.two_ranks", str(folder)],
            cwd=ROOT,
            env=os.environ | shared | {"RANK": str(r)},
        )
        for r in range(size)
    ]
    assert [job.wait(timeout=240) for job in jobs] == [0] * size
    return torch.load(folder / f"ranks_{size}.pt", weights_only=False)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    one, two = run_ranks(1, tmp_path), run_ranks(2, tmp_path)
    assert one["seen"] == two["seen"]  # the same number of tokens at every step
    assert one["keys"] == two["keys"]
    worst = max(float((a - b).abs().max().detach()) for a, b in zip(one["weights"], two["weights"], strict=True))
    assert worst < 1e-6
