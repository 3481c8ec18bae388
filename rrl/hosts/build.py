"""From a config to a ``HostReplay``: ``conf/hosts.yaml`` with overrides, as the command line of rrl-train has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rrl import build as house
from rrl.annotations import fit
from rrl.hosts.replaying import HostReplay
from rrl.hosts.task import HostTask
from rrl.ranks import Ranks

_READS_ENTROPY = ("rrl.replay.cut.entropy.", "rrl.replay.schedule.entropy_trigger.", "rrl.replay.schedule.dynamic.")
_KEYS = {"solved_at": float, "score_range": tuple[float, ...], "step_apart": int, "place_answers": bool,
         "fill_rows": int}


def build(
    overrides: Sequence[str], *, tokenizer: Any, output_dir: str | Path = ".", store: str | Path = ""
) -> HostReplay:
    """Replay for somebody else's trainer.

    Args:
      overrides: changes of ``conf/hosts.yaml``, e.g. ["replay/schedule=constant", "host.solved_at=0.5"].
      tokenizer: the host's, of transformers.
      output_dir: where filters that ask people keep their file; the host's own.
      store: folder of a saved state (a checkpoint's ``rrl`` folder, or what ``rrl-store import`` wrote) whose store a
        new run begins with; "" = an empty one.
    Raises:
      ValueError: an option, key or value is wrong; the store does not fit.
    """
    cfg = compose(overrides)
    made = built(cfg, tokenizer=tokenizer, output_dir=Path(output_dir))
    if str(store):
        made.seed_from(Path(store))
    return made


def compose(overrides: Sequence[str]) -> DictConfig:
    """``conf/hosts.yaml`` under ``overrides``. Raises ValueError in one line."""
    from hydra import compose as composed
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from rrl.cli import explain

    GlobalHydra.instance().clear()  # a script of the host's may use Hydra itself, which allows one at a time
    try:
        with initialize_config_module("rrl.conf", version_base="1.3"):
            return composed("hosts", list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"rrl.hosts: {explain(error, 'hosts', list(overrides))}") from error


def built(cfg: DictConfig, *, tokenizer: Any, output_dir: Path) -> HostReplay:
    """The objects of a composed config."""
    host = {key: fit(cfg.host[key] if key != "score_range" else list(cfg.host[key]), hint, f"host.{key}")
            for key, hint in _KEYS.items()}
    task = HostTask(tokenizer=tokenizer, score_range=host["score_range"], step_apart=host["step_apart"])
    pool: dict[str, Any] = {
        "seed": cfg.seed, "ranks": Ranks.alone(), "output_dir": output_dir, "task": task, "codec": task.codec,
        "resolved_config": OmegaConf.to_container(cfg, resolve=True),
    }  # fmt: skip
    if cfg.get("policy") is not None:  # never trained, never sampled from: its trunk is where a critic begins
        pool["policy"] = house.make(cfg.policy, "policy", **pool)
    replay, value = house.make(cfg.replay, "replay", **pool), house.make(cfg.value, "value", **pool)
    return HostReplay(
        replay=replay, value=value, task=task, solved_at=host["solved_at"], place_answers=host["place_answers"],
        fill_rows=host["fill_rows"], settings=flat(pool["resolved_config"]), reads_entropy=_reading_entropy(cfg),
    )  # fmt: skip


def flat(node: Any, path: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(node, dict):
        return {path: node}
    return {k: v for name, child in node.items() for k, v in flat(child, f"{path}.{name}".lstrip(".")).items()}


def _reading_entropy(cfg: DictConfig) -> tuple[str, ...]:
    return tuple(f"replay/{part}={cfg.replay[part]._target_.split('.')[-2]}" for part in ("cut", "schedule")
                 if cfg.replay[part]._target_.startswith(_READS_ENTROPY))
