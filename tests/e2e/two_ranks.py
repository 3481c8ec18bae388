"""Run as one of several processes: a short training; rank 0 saves weights and sampled tokens."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from rrl import build, loop
from rrl.ranks import Ranks
from rrl.saver import first_progress
from tests.small import composed


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    ranks = Ranks()
    cfg = composed(
        f"warm_start.cache_dir={folder / 'warm_start'}",
        "replay/schedule=constant",
        "policy.backbone.dtype=float64",
        "tracker=[]",
    )
    house = build.build(cfg, folder, ranks)
    seen: list[list[float]] = []
    progress = loop.warm_up(house, first_progress(house.run), lambda p: seen.append([p.step, p.sampled_tokens]))
    loop.train(house, progress, lambda p: seen.append([p.step, p.sampled_tokens]))
    if ranks.is_main:
        keys = [row["key"] for row in house.replay.rows()]
        torch.save(
            {"weights": list(house.policy.parameters()), "seen": seen, "keys": keys}, folder / f"ranks_{ranks.size}.pt"
        )
    ranks.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
