"""Houses for the laws: one config and one house a choice, kept for the session; a changed room is built anew."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rrl import build, checkpoint
from rrl.build import House
from rrl.ranks import Ranks
from rrl.records import Progress
from tests.contract.options import composed, overrides_for


class Bench:
    """What the laws are tried on. ``house`` is shared: a law that changes a room asks for ``new_house`` or ``make``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.house = functools.cache(self.new_house)
        self.config = functools.cache(self._config)
        self._count = 0

    def _config(self, group: str, option: str, *changes: str) -> DictConfig:
        return composed(*overrides_for(group, option, self.folder), *changes)

    def new_house(self, group: str, option: str, *changes: str) -> House:
        """Every room, built as ``rrl-train`` builds it, with one option chosen and everything small."""
        cfg, ranks = self.config(group, option, *changes), Ranks()
        build.validate(cfg, ranks)
        return build.build(cfg, self.new_folder(), ranks)

    def make(self, group: str, option: str, *changes: str, **runtime: Any) -> Any:
        """The option alone, with the rooms of its house; ``runtime`` replaces some of these."""
        house = self.house(group, option, *changes)
        cfg = self.config(group, option, *changes)
        key = group.replace("/", ".")
        node = OmegaConf.select(cfg, f"{key}.{option}" if group in ("tracker", "replay/filter") else key)
        pool = {
            "seed": house.seed, "ranks": house.ranks, "task": house.task, "problems": house.problems,
            "policy": house.policy, "reward": house.reward, "value": house.value, "output_dir": self.new_folder(),
            "resolved_config": OmegaConf.to_container(cfg, resolve=True),
        } | runtime  # fmt: skip
        pool.setdefault("codec", build.make(cfg.codec, "codec", **pool))
        pool.setdefault("reference", house.policy.frozen())
        pool.setdefault("objective", build.make(cfg.objective, "objective", **pool))
        return build.make(node, key, **pool)

    def new_folder(self) -> Path:
        self._count += 1
        folder = self.folder / f"run_{self._count}"
        folder.mkdir()
        return folder

    def through_disk(self, state: dict[str, Any]) -> dict[str, Any]:
        """What a checkpoint gives back."""
        loaded, _ = checkpoint.load(checkpoint.save(self.new_folder() / "saved", state, {}))
        return loaded


def progress_at(step: int, *, done: float = 0.5, budget: int = 10_000) -> Progress:
    return Progress(
        step=step, sampled_tokens=round(done * budget), token_budget=budget, history=(), first=None, peak=None
    )
