"""What ``rrl-eval`` evaluates: a checkpoint with everything its run had, or a policy by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rrl import build, checkpoint
from rrl.protocols import Policy, Reward, Task
from rrl.ranks import Ranks
from rrl.saver import restore
from rrl.stored import config_of, running_code
from rrl.types import Metrics

_CHOSEN = ("policy", "codec", "task", "reward", "evaluate")
_ALONE = {
    "codec": {"_target_": "rrl.codec.byte.ByteCodec"},
    "reward": {"_target_": "rrl.reward.task.TaskReward", "timeout_s": float("inf")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """name: of the run, or of the model.  checkpoint, step: None for a policy by itself.  metrics: of the run's own
    evaluation, {} where there is none."""

    name: str
    checkpoint: Path | None
    step: int | None
    temperature: float
    task: Task
    policy: Policy
    reward: Reward
    metrics: Metrics
    runs_code: list[str]


def subject_of(cfg: DictConfig, output_dir: Path, ranks: Ranks, known: Metrics | None) -> Subject:
    """Build what ``cfg`` names.

    Args:
      cfg: of conf/eval.yaml.
      known: metrics of the run's own evaluation where they were measured before a stop; None = measure them.
    Raises:
      ValueError: nothing is named, or it cannot be built or restored.
    """
    if cfg.temperature is not None and not (isinstance(cfg.temperature, (int, float)) and cfg.temperature > 0):
        raise ValueError(f"temperature is {cfg.temperature!r}; expected a number > 0, or null = the policy's own; "
                         "samples.greedy=true has the likeliest tokens besides")
    if cfg.checkpoint is not None:
        return _from_checkpoint(cfg, output_dir, ranks, known)
    if missing := [key for key in ("policy", "task") if cfg.get(key) is None]:
        raise ValueError(f"checkpoint and {' and '.join(missing)} are missing; expected checkpoint=<run or checkpoint "
                         "folder>, or policy=<option> codec=<option> task=<option>; rrl-eval --help has examples")
    return _alone(cfg, output_dir, ranks)


def _from_checkpoint(cfg: DictConfig, output_dir: Path, ranks: Ranks, known: Metrics | None) -> Subject:
    folder = checkpoint_of(cfg.checkpoint, "checkpoint")
    _, meta = checkpoint.load(folder)
    config = config_of(meta, folder)
    config.warm_start = {"_target_": "rrl.warm_start.none.NoWarmStart"}
    config.tracker = {}
    for group in _CHOSEN:
        if (node := cfg.get(group)) is not None:  # a group without a choice leaves no key
            config[group] = node if "_target_" in node else OmegaConf.merge(config.get(group, {}), node)
    if cfg.temperature is not None:
        config.policy.temperature = cfg.temperature
    build.validate(config, ranks)
    house = build.build(config, output_dir, ranks)
    progress = restore(house, folder)
    return Subject(
        name=f"{config.name}, seed {config.seed}", checkpoint=folder, step=progress.step,
        temperature=config.policy.temperature, task=house.task, policy=house.policy, reward=house.reward,
        metrics=house.evaluate.now(progress) if known is None else known,
        runs_code=running_code(OmegaConf.to_container(config, resolve=True)),
    )  # fmt: skip


def _alone(cfg: DictConfig, output_dir: Path, ranks: Ranks) -> Subject:
    config = OmegaConf.create({"codec": _ALONE["codec"], "reward": _ALONE["reward"], "seed": cfg.seed})
    for group in ("policy", "codec", "task", "reward"):
        if cfg.get(group) is not None:
            config[group] = cfg[group]
    if cfg.get("evaluate") is not None:
        raise ValueError("evaluate is chosen without a checkpoint; it repeats a run's own evaluation; the numbers of "
                         "this one are samples.*")
    if cfg.temperature is not None:
        config.policy.temperature = cfg.temperature
    pool = build.build_policy(config, output_dir, ranks)
    reward = build.make(config.reward, "reward", **pool)
    model = OmegaConf.select(config, "policy.backbone.source.model")
    return Subject(
        name=str(model or config.policy._target_.rpartition(".")[2]), checkpoint=None, step=None,
        temperature=config.policy.temperature, task=pool["task"], policy=pool["policy"], reward=reward, metrics={},
        runs_code=running_code(pool["resolved_config"]),
    )  # fmt: skip


def checkpoint_of(folder: Any, key: str) -> Path:
    """The checkpoint that a folder is, or a run's newest. Raises ValueError naming ``key`` where there is none."""
    if not isinstance(folder, str) or not Path(folder).is_dir():
        raise ValueError(f"{key} is {folder!r}; expected a run folder or a checkpoint folder, as {key}=<folder>")
    return checkpoint.latest(Path(folder))
