"""Everything that needs a GPU, as three commands of less than ten minutes each.

    python kernels/bench/gpu.py 1        every operation against float64, then the scans and the group advantages
    python kernels/bench/gpu.py 2        log-probs and losses from logits
    python kernels/bench/gpu.py 3        the output layers
    python kernels/bench/gpu.py 2 --dry-run

Each bench measures this device's two ceilings in its own run, and writes ``results/<device>_<operation>.csv``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parents[1]

PARTS: dict[int, tuple[str, ...]] = {
    1: ("tests", "segment_gae", "segment_vtrace", "group_advantage"),
    2: ("logprob_entropy",),
    3: ("linear_logprob", "linear_policy_loss"),
}


def commands(part: int, device_name: str, folder: Path = BENCH / "results") -> list[list[str]]:
    """What a part runs, in order. Raises ValueError for a part that does not exist."""
    if part not in PARTS:
        raise ValueError(f"part is {part}; expected one of {sorted(PARTS)}")
    found = []
    for name in PARTS[part]:
        if name == "tests":
            found.append([sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(ROOT / "tests" / "kernels")])
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
    worst = 0
    for command in commands(given.part, name, given.out):
        print(" ".join(command), flush=True)
        if not given.dry_run:
            worst = max(worst, abs(subprocess.run(command, cwd=ROOT, check=False).returncode))
    return worst


if __name__ == "__main__":
    sys.exit(main())
