"""Seconds by phase and sampled tokens per second of the default run, for our tiny decoder and for transformers'.

Runs `rrl-train` for a short budget, arms interleaved, and writes one row per repetition and policy: medians over
the run's steps from its own metrics.jsonl.

    python -m tests.bench.phases --out docs/results/phases.csv
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.rows import write_csv

PHASES = ("rescore", "draw", "rollout", "score", "estimate", "observe", "learn", "fit", "step")


def measured(folder: Path, policy: str, budget: int) -> dict[str, float]:
    """Medians over the steps of one run of `experiment=rrl` with replay from the first step."""
    command = [
        sys.executable, "-m", "rrl.train", f"policy={policy}", "replay/schedule=constant", f"run.token_budget={budget}",
        "tracker=[jsonl]", "evaluate.every_steps=1000000", "evaluate.dense_until=0", f"hydra.run.dir={folder}",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [r for r in records if r["progress/step"] > 1 and "time/learn_s" in r]
    row = {
        f"{p}_ms": statistics.median(r.get(f"time/{p}_s", 0.0) for r in steps) * 1e3
        for p in PHASES
        if p != "rescore"  # every fifth step only: a median would hide it
    }
    row["rescore_ms"] = statistics.mean(r["time/rescore_s"] for r in steps) * 1e3
    tokens = [r["rollout/tokens_fresh"] + r.get("rollout/tokens_replayed", 0.0) for r in steps]
    row["sampled_tokens_per_s"] = sum(tokens) / sum(r["time/step_s"] for r in steps)
    sampling = zip(tokens, steps, strict=True)
    row["rollout_tokens_per_s"] = statistics.median(t / r["time/rollout_s"] for t, r in sampling)
    return {k: round(v, 2) for k, v in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--budget", type=int, default=60_000, help="sampled tokens a run")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    from rrl.provenance import provenance

    made = provenance("python -m tests.bench.phases")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(args.repetitions):
            for policy in ("tiny", "tiny_hf"):
                figures = measured(Path(folder) / f"{policy}_{repetition}", policy, args.budget)
                rows.append({"policy": policy, "repetition": repetition, **figures, "commit": made["commit"]})
                print(rows[-1])
    write_csv(args.out, rows)


if __name__ == "__main__":
    main()
