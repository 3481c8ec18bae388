"""Programs a second in the sandbox beside a plain subprocess with limits and a timeout, turn and turn about.

Plain is what most harnesses do: a new Python in its own session with rlimits, killed with its group at the limit; it
holds off almost nothing. The plain arm's interpreter starts with -I -S, as fast as Python starts.

    python -m tests.bench.sandbox --out docs/results/sandbox_rate.csv
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rrl.sandbox.pool import Sandbox
from rrl.sandbox.walls import SandboxUnavailable
from rrl.task.code.suites import CallSuite, Stdio
from rrl.task.code.verdict import judge

LIMITS = {"cpu_s": 4, "wall_s": 60.0, "memory_mb": 512, "output_kb": 1024}
# A short solution with one test, as stdin and as calls; three imports, as solutions have them.
SOURCE = """
import sys, math, collections
from tests.bench.rows import write_csv
def solve(values):
    held = collections.Counter(values)
    return [math.gcd(*values), sum(held.values())]
if __name__ == "__main__":
    print(*solve([int(word) for word in sys.stdin.read().split()]))
"""
STDIO = Stdio(cases=(("12 18 30\n", "6 3\n"),))
CALLS = CallSuite(setup="", calls=(("solve", ([12, 18, 30],), [6, 3]),), from_json=False)


def plain(_: int) -> bool:
    """One program in a process of its own, with limits."""

    def limit() -> None:
        size = LIMITS["memory_mb"] << 20
        resource.setrlimit(resource.RLIMIT_CPU, (LIMITS["cpu_s"], LIMITS["cpu_s"]))
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    process = subprocess.Popen(
        [getattr(sys, "_base_executable", sys.executable), "-I", "-S", "-c", SOURCE], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=limit,
    )  # fmt: skip
    try:
        out, _err = process.communicate(STDIO.cases[0][0].encode(), timeout=LIMITS["wall_s"])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False
    return process.returncode == 0 and out.decode() == STDIO.cases[0][1]


def rate(run: Callable[[int], bool], num: int, workers: int) -> float:
    """Right programs a second."""
    with ThreadPoolExecutor(workers) as threads:
        begin = time.perf_counter()
        right: Sequence[bool] = list(threads.map(run, range(num)))
        seconds = time.perf_counter() - begin
    if not all(right):
        raise RuntimeError(f"{num - sum(right)} of {num} programs were not right")
    return num / seconds


def cpu_s(pid: int) -> float:
    """CPU of a process, those below it and those they have waited for: what a busy machine distorts least."""
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    below = [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(cpu_s, below))


def arms(workers: int) -> dict[str, Callable[[int], bool]]:
    """Name -> one program; the walls that hold here."""
    found = {"plain": plain}
    for wall in ("sealed", *(["bwrap"] if shutil.which("bwrap") else [])):
        try:
            box = Sandbox(workers=workers, packages=(), package_paths=(), wall=wall, unsafe=False, **LIMITS)
        except SandboxUnavailable as error:
            print(f"{wall} left out: {error}")
            continue
        for form, suite in (("stdio", STDIO), ("calls", CALLS)):
            found[f"{wall} {form}"] = lambda _, box=box, suite=suite: (
                judge(box.run, SOURCE, suite, stop_early=True, tolerance=0.0).kind == "solved"
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--programs", type=int, default=150, help="of each arm and repetition")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    from rrl.provenance import provenance

    made = provenance("python -m tests.bench.sandbox")
    runs = arms(args.workers)
    for run in runs.values():
        rate(run, 2 * args.workers, args.workers)  # every zygote is started
    rows = []
    for repetition in range(args.repetitions):
        for arm, run in runs.items():
            before = cpu_s(os.getpid())
            figure = rate(run, args.programs, args.workers)
            cpu = (cpu_s(os.getpid()) - before) / args.programs
            rows.append({
                "arm": arm, "repetition": repetition, "workers": args.workers, "programs_per_s": round(figure, 1),
                "cpu_ms_per_program": round(1e3 * cpu, 2),
                "load": round(os.getloadavg()[0], 1), "device": made["device"], "commit": made["commit"],
            })  # fmt: skip
    write_csv(args.out, rows)
    by = {arm: [r["programs_per_s"] for r in rows if r["arm"] == arm] for arm in runs}
    for arm, figures in by.items():
        ratios = [figure / slow for figure, slow in zip(figures, by["plain"], strict=True)]
        print(f"{arm:14s} {statistics.median(figures):7.1f} programs/s  {statistics.median(ratios):5.2f} x plain "
              f"({min(ratios):.2f} .. {max(ratios):.2f})  "
              f"{statistics.median(r['cpu_ms_per_program'] for r in rows if r['arm'] == arm):.1f} ms CPU")  # fmt: skip


if __name__ == "__main__":
    main()
