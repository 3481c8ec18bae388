"""A small house for tests: the default composition with every number turned down."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from rrl import build
from rrl.ranks import Ranks

SMALL = (
    "run.token_budget=3000",
    "run.starts_per_step=32",
    "run.warm_up.batches=3",
    "run.warm_up.starts=32",
    "warm_start.steps=20",
    "warm_start.batch=64",
    "evaluate.every_steps=10",
    "tracker=[jsonl]",
)


def composed(*overrides: str) -> DictConfig:
    """The default config with SMALL and ``overrides`` on top."""
    with initialize_config_module("rrl.conf", version_base="1.3"):
        return compose("train", [*SMALL, *overrides])


def small_house(output_dir: Path, *overrides: str) -> build.House:
    """Every room of a small run, built as ``rrl-train`` builds it. The warm start is cached beside ``output_dir``."""
    output_dir.mkdir(parents=True, exist_ok=True)
    cfg = composed(f"warm_start.cache_dir={output_dir.parent / 'warm_start'}", *overrides)
    ranks = Ranks()
    build.validate(cfg, ranks)
    return build.build(cfg, output_dir, ranks)
