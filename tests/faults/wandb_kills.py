"""Kills around W&B's records: over all files of one W&B run, is each step told exactly once?

    python -m tests.faults.wandb_kills --kills 8

The run is killed (SIGKILL) at lines inside the W&B tracker and the checkpoint, resumed, and the transaction files that
``wandb sync`` would upload are read back. W&B's own process writes them; what it has not written when its client is
killed is what would be missing. Prints a row a kill; exits 1 where a step is told twice or not at all.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.faults import faults
from tests.faults.process import KILLED, TINY, records, train, warm
from tests.wandb_log import _read


class Told(NamedTuple):
    """killed_at: last step in metrics.jsonl.  rows: W&B step numbers twice or out of order.  twice, missing: steps."""

    killed_at: int | None
    files: int
    ids: int
    twice: list[int]
    missing: list[int]
    rows: list[int]


def steps_told(run: Path) -> tuple[list[int], list[int], set[str], int]:
    """(steps with metrics, W&B's own row numbers, run ids, files), over the files in the order they were begun."""
    steps, rows, ids = list[int](), list[int](), set[str]()
    paths = sorted(run.glob("wandb/offline-run-*/run-*.wandb"), key=lambda p: p.parent.name)
    for path in paths:
        written = _read(path)
        ids.add(path.name)
        for row in written.history:
            rows.append(int(row["_step"]))
            if len(row.keys() - {"progress/step", "progress/sampled_tokens"}) > 5:  # a record; tables are rows, too
                steps.append(int(row["progress/step"]))
    return steps, rows, ids, len(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.environ["WANDB_MODE"] = "offline"
    warm()
    choose = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DATA_DIR"] = f"{folder}/staged"
        tiny = [*TINY[:-1], "tracker=[jsonl,wandb]", f"warm_start.cache_dir={folder}/ws", "hydra.run.dir=run"]
        whole = Path(folder) / "whole"
        whole.mkdir()
        ended = train(whole, tiny, faults.count_lines("wandb", whole / "count"))
        assert ended.code == 0, ended.out
        lines, expected = int((whole / "count").read_text()), [int(r["progress/step"]) for r in records(whole / "run")]
        wrong = 0
        for number in range(args.kills):
            place = Path(folder) / f"kill_{number}"
            place.mkdir()
            ended = train(place, tiny, faults.kill_at_line("wandb", choose.randint(lines // 8, lines)))
            assert ended.code in (0, KILLED), ended.out
            killed_at = [int(r["progress/step"]) for r in records(place / "run")][-1:]
            memory = json.loads((place / "run" / "wandb_run.json").read_text())
            time.sleep(1.0)  # W&B's process ends by itself
            before = steps_told(place / "run")[0]
            if ended.code:
                resumed = train(place, ["resume=run"])
                assert resumed.code == 0, resumed.out
            steps, rows, ids, files = steps_told(place / "run")
            count = Counter(steps)
            told = Told(
                killed_at=killed_at[0] if killed_at else None, files=files, ids=len(ids),
                twice=[s for s, n in count.items() if n > 1], missing=[s for s in expected if s not in count],
                rows=[b for a, b in zip(rows, rows[1:], strict=False) if b <= a],
            )  # fmt: skip
            print(told, "remembered", memory["step"], "in the file", before[-1:], "resumed at",
                  None if not ended.code else resumed.restored, flush=True)  # fmt: skip
            wrong += bool(told.twice or told.missing or told.rows or told.ids != 1)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
