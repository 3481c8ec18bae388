"""The group ``run`` of a config, which no constructor takes: what stands in it is looked at here."""

from __future__ import annotations

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from rrl.capacity import check_room
from rrl.metrics import CATALOGUE
from rrl.ranks import Ranks


def check_run(cfg: DictConfig, ranks: Ranks) -> None:
    """Types and bounds. Raises ValueError, by key."""
    least = {
        "token_budget": 1, "starts_per_step": ranks.size, "samples_per_start": 1, "num_threads": 1,
        "checkpoint_every": 1, "keep_checkpoints": 1, "warm_up.batches": 0, "warm_up.starts": ranks.size,
        "resample_rounds": 0,
    }  # fmt: skip
    for key, bound in least.items():
        value = OmegaConf.select(cfg.run, key)
        if type(value) is not int or not bound <= value < 2**63:
            why = f" (the number of ranks is {ranks.size})" if ranks.size > 1 and bound > 1 else ""
            raise ValueError(f"run.{key} is {value!r}; expected an integer >= {bound}{why}")
    rows = max(cfg.run.starts_per_step, cfg.run.warm_up.starts) * cfg.run.samples_per_start
    check_room(8.0 * rows, f"a step of {rows:,} rows", {"run": OmegaConf.to_container(cfg.run)})  # a pointer a row
    least_rows: int = getattr(get_class(cfg.value._target_), "min_samples_per_start")  # noqa: B009  (of any class)
    if cfg.run.samples_per_start < least_rows:
        raise ValueError(
            f"run.samples_per_start is {cfg.run.samples_per_start}; the chosen value compares the rows of a start and "
            f"needs >= {least_rows}; e.g. run.samples_per_start=8 run.starts_per_step=16, or value=critic"
        )
    if type(cfg.run.warm_up.admit) is not bool:
        raise ValueError(f"run.warm_up.admit is {cfg.run.warm_up.admit!r}; expected true or false")
    if cfg.run.keep_best is not None and cfg.run.keep_best not in CATALOGUE:
        raise ValueError(f"run.keep_best is {cfg.run.keep_best!r}; expected the name of a metric, such as "
                         "eval/hard_success, or null")
    others = {"lesson_token_divisor", "constant_share", "keep_best", "ranks_timeout_s"}
    known = {key.split(".")[0] for key in least} | others
    if unknown := sorted(str(k) for k in set(cfg.run) - known):
        raise ValueError(f"run.{unknown[0]} is not a key of run; expected one of: {', '.join(sorted(known))}")
