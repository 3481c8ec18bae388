"""TRL in processes: two that share groups, and one that is killed after the first epoch and resumed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rrl import checkpoint
from tests.conftest import ROOT
from tests.contract.stream import same
from tests.hosts.tiny_trl import GROUP

pytestmark = pytest.mark.slow


def start(folder: Path, *given: str, rank: int | None = None, port: int = 0) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    world = {} if rank is None else {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                                     "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "tests.hosts.process", str(folder), *given], cwd=ROOT, env=os.environ | world,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def two(folder: Path, *given: str) -> list[tuple[int, str]]:
    """(exit code, stderr) of two processes of one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = [start(folder, *given, rank=rank, port=port) for rank in range(2)]
    ended = [process.communicate(timeout=300)[1] for process in running]
    return [(process.returncode, said) for process, said in zip(running, ended, strict=True)]


def record(folder: Path, rank: int = 0) -> Any:
    return json.loads((folder / f"rank{rank}.json").read_text())


def test_two_processes_agree_on_every_start_also_in_a_group_that_straddles_them(tmp_path: Path) -> None:
    ended = two(tmp_path, "rows=6", "steps=12")  # 12 rows a step: rows 4 and 5 are on one process, 6 and 7 on the other
    assert [code for code, _ in ended] == [0, 0], ended
    first, second = record(tmp_path, 0), record(tmp_path, 1)
    assert first["told"] == second["told"]
    replayed = 0
    for left, right in zip(first["batches"], second["batches"], strict=True):
        rows = left + right
        for begin in range(0, 12, GROUP):
            group = rows[begin : begin + GROUP]
            assert len({key for key, _ in group}) == 1
            assert [origin for _, origin in group].count("answer") <= 1
        replayed += sum(origin == "replayed" for _, origin in rows[4:8])
    assert replayed > 0


def test_processes_of_different_seeds_are_refused_in_one_error(tmp_path: Path) -> None:
    ended = two(tmp_path, "rows=6", "steps=3", "seed=1")
    assert all(code != 0 for code, _ in ended)
    assert all("ValueError: the 2 processes disagree on what replay was told so far" in said for _, said in ended)


def test_killed_after_the_first_epoch_and_resumed_it_has_the_store_of_an_unbroken_run(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"  # 12 prompts, 4 a step: an epoch is 3 steps
    assert start(whole, "steps=9", "save=4").wait(timeout=300) == 0
    assert start(broken, "steps=9", "save=4", "die=6").wait(timeout=300) == -9
    assert not list(broken.rglob("*.tmp"))
    assert start(broken, "steps=9", "save=4", "resume=1").wait(timeout=300) == 0
    assert record(broken)["told"] == record(whole)["told"]
    assert record(broken)["batches"] == record(whole)["batches"][4:]
    states = [checkpoint.load(folder / "checkpoint-9" / "rrl")[0] for folder in (whole, broken)]
    assert same(*states)
