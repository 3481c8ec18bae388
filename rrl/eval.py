"""``rrl-eval checkpoint=<folder>``: evaluate a checkpoint on bare prompts and print the figures."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from rrl.cli import speak


def main() -> None:
    """The command. Exit code 1, with one line, where the command line or the checkpoint is wrong."""
    speak("rrl-eval", _job, config_name="eval")


@hydra.main(version_base="1.3", config_path="pkg://rrl.conf", config_name="eval")
def _job(cfg: DictConfig) -> None:
    """Rebuild the run's house from the checkpoint's own config, load it, evaluate."""
    try:
        run(cfg, Path(HydraConfig.get().runtime.output_dir))
    except ValueError as error:
        raise SystemExit(f"rrl-eval: {error}") from None


def run(cfg: DictConfig, output_dir: Path) -> dict[str, float]:
    """Evaluate; also written to ``eval.json`` with how it was made. Returns the metrics."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from rrl import build, checkpoint
    from rrl.metrics import CATALOGUE
    from rrl.provenance import provenance
    from rrl.ranks import Ranks
    from rrl.saver import restore

    if OmegaConf.is_missing(cfg, "checkpoint") or not Path(cfg.checkpoint).is_dir():
        given = "missing" if OmegaConf.is_missing(cfg, "checkpoint") else repr(cfg.checkpoint)
        raise ValueError(f"checkpoint is {given}; expected a run folder or a checkpoint folder, as checkpoint=<folder>")
    torch.set_num_threads(cfg.num_threads)
    folder = checkpoint.latest(Path(cfg.checkpoint))
    _, meta = checkpoint.load(folder)
    config = OmegaConf.create(meta["config"])
    assert isinstance(config, DictConfig)
    config.warm_start = {"_target_": "rrl.warm_start.none.NoWarmStart"}
    config.tracker = {}
    if cfg.get("evaluate") is not None:  # a group without a choice leaves no key
        config.evaluate = cfg.evaluate
    house = build.build(config, output_dir, Ranks())
    progress = restore(house, folder)
    metrics = house.evaluate.now(progress)
    record = {"checkpoint": str(folder), "step": progress.step, "metrics": metrics, **provenance("rrl-eval")}
    (output_dir / "eval.json").write_text(json.dumps(record, indent=2))
    table = Table(title=f"{config.name}, seed {config.seed}, step {progress.step}", title_justify="left")
    for column in ("metric", "value", "what it is"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.3f}", CATALOGUE[name].about)
    Console().print(table)
    return metrics


if __name__ == "__main__":
    main()
