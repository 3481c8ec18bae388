"""Everything that needs a GPU, as three commands of less than ten minutes each.

    python kernels/bench/gpu.py 1        every operation against float64, then the scans and the group advantages
    python kernels/bench/gpu.py 2        scores from logits and from hidden states
    python kernels/bench/gpu.py 3        losses inside the output layer, then shared prefixes and rollouts from them
    python kernels/bench/gpu.py 2 --dry-run

Each bench measures this device's two ceilings in its own run, and writes ``results/<device>_<operation>.csv`` case by
case: one that is stopped keeps what it has. Nothing of this repository need be installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parents[1]

PARTS: dict[int, tuple[str, ...]] = {
    1: ("tests", "segment_gae", "segment_vtrace", "group_advantage"),
    2: ("logprob_entropy", "linear_logprob"),
    3: ("linear_policy_loss", "shared_prefix", "rollout"),
}
SECONDS = 570  # for a part; whoever lends the GPU may stop it at ten minutes


def commands(part: int, device_name: str, folder: Path = BENCH / "results") -> list[list[str]]:
    """What a part runs, in order. Raises ValueError for a part that does not exist."""
    if part not in PARTS:
        raise ValueError(f"part is {part}; expected one of {sorted(PARTS)}")
    found = []
    for name in PARTS[part]:
        if name == "tests":
            plain = ["-q", "-o", "addopts=", "--noconftest", "-m", "gpu"]  # needs torch, triton and pytest only
            found.append([sys.executable, "-m", "pytest", *plain, str(ROOT / "tests" / "kernels" / "test_gpu.py")])
        else:
            bench, out = BENCH / f"bench_{name}.py", folder / f"{device_name}_{name}.csv"
            found.append([sys.executable, str(bench), "--device", "cuda", "--out", str(out)])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a part; a command that fails does not keep the later ones from running. Its exit status is the worst one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", type=int, choices=sorted(PARTS))
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--out", type=Path, default=BENCH / "results", help="folder of the CSV files")
    given = parser.parse_args(arguments)
    name = "gpu"
    if not given.dry_run:
        import torch

        if not torch.cuda.is_available():
            parser.error("torch sees no GPU; expected one (--dry-run prints the commands without)")
        name = "_".join(torch.cuda.get_device_name().lower().split())
    worst, begun = 0, time.monotonic()
    for command in commands(given.part, name, given.out):
        print(" ".join(command), flush=True)
        if not given.dry_run:
            worst = max(worst, _run(command, SECONDS - (time.monotonic() - begun)))
    return worst


def _run(command: list[str], seconds: float) -> int:
    """Its exit status without sign; 124 where it took longer."""
    path = os.pathsep.join([str(ROOT / "kernels"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        with_path = os.environ | {"PYTHONPATH": path}
        done = subprocess.run(command, cwd=ROOT, env=with_path, timeout=max(1.0, seconds), check=False)
        return abs(done.returncode)
    except subprocess.TimeoutExpired:
        print(f"stopped after {seconds:.0f} s: {' '.join(command)}", flush=True)
        return 124


if __name__ == "__main__":
    sys.exit(main())
