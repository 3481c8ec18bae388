"""The benchmarks' own parts that need no peer: the GPU plan, and pictures from CSV."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "kernels" / "bench"
SCRIPTS = sorted(p.stem.removeprefix("bench_") for p in BENCH.glob("bench_*.py"))


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_three_gpu_parts_run_every_bench_once_and_the_tests_first() -> None:
    plans = [run("gpu.py", str(part), "--dry-run") for part in (1, 2, 3)]
    assert [p.returncode for p in plans] == [0, 0, 0]
    text = "".join(p.stdout for p in plans)
    assert sorted(name for name in SCRIPTS if text.count(f"bench_{name}.py") == 1) == SCRIPTS
    assert "-m gpu" in plans[0].stdout.splitlines()[0]


def test_without_a_gpu_a_part_says_so_and_runs_nothing() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run("gpu.py", "2")
    assert done.returncode == 2 and "torch sees no GPU" in done.stderr and not done.stdout


def test_a_picture_is_drawn_from_the_committed_files_alone(tmp_path: Path) -> None:
    done = run("plot.py", str(BENCH / "results" / "cpu_segment_gae.csv"), "--out", str(tmp_path / "x.png"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_the_table_is_written_from_the_files_alone_with_ratios_to_naive_torch(tmp_path: Path) -> None:
    columns = "op,mode,size,inputs,provider,provider_version,device_ms_p20,device_ms_p50,device_ms_p80,floor_pct,"
    columns += "peak_mib,max_abs_err,device,torch,triton,python,commit,date\n"
    rest = "1,2.5,1e-6,a CPU,2.13,3.7,3.11,abc,2026-01-01\n"
    rows = f"op,full,4,random,ours,,1,2,3,{rest}op,full,4,random,naive torch,,7,8,9,{rest}"
    (tmp_path / "x.csv").write_text(columns + rows)
    done = run("table.py", str(tmp_path / "x.csv"), "--out", str(tmp_path / "x.md"))
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "x.md").read_text().splitlines()
    assert lines[-2:] == [
        "| `op, full, 4, random` | ours | 2 (1 to 3) | 0.25 | 1 | 2.5 | 1e-6 |",
        "|  | naive torch | 8 (7 to 9) | 1.00 | 1 | 2.5 | 1e-6 |",
    ]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("op,mode\n")
    done = run("plot.py", str(tmp_path / "empty.csv"), "--out", str(tmp_path / "x.png"))
    assert done.returncode != 0 and "no rows" in done.stderr
