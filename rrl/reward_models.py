"""``rrl-reward``: make the scorers of a dialogue task (where they are trained here), and say how good they are."""

from __future__ import annotations

import json
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from rrl import debug
from rrl.cli import speak


def main() -> None:
    """The command. Exit code 1, with one line, where the command line or a scorer's data is wrong."""
    speak("rrl-reward", _job, config_name="train")


@hydra.main(version_base="1.3", config_path="pkg://rrl.conf", config_name="train")
def _job(cfg: DictConfig) -> None:
    """Any config of ``rrl-train`` with a dialogue task, e.g. ``rrl-reward setting=dialogue_tiny``."""
    try:
        run(cfg, Path(HydraConfig.get().runtime.output_dir))
    except ValueError as error:
        raise SystemExit(debug.line("rrl-reward", error)) from None


def run(cfg: DictConfig, output_dir: Path) -> dict[str, dict[str, float]]:
    """Accuracy on the task's held-out pairs, by scorer and kind of prompt; also in ``reward.json``.

    A reward is right where the chosen answer scores higher, harm where the rejected one does (harmful prompts only).
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from rrl.build import make
    from rrl.ranks import Ranks
    from rrl.task.dialogue.pairs import pairs_of, ranked_right

    if not OmegaConf.select(cfg, "task.helpful") or not OmegaConf.select(cfg, "task.harm"):
        raise ValueError(f"task is {cfg.task.get('name')!r}, which has no reward model; expected task=dialogue or "
                         "setting=dialogue_tiny")
    torch.set_num_threads(cfg.run.num_threads)
    sources = OmegaConf.to_container(cfg.task.data.heldout)
    assert isinstance(sources, dict)
    held = pairs_of({str(kind): tuple(names) for kind, names in sources.items()}, "task.data.heldout")
    table = Table(title="share of held-out pairs ranked right", title_justify="left")
    for column in ("scorer", "prompts", "pairs", "accuracy"):
        table.add_column(column)
    found: dict[str, dict[str, float]] = {}
    for name in ("reward", "helpful", "harm"):
        scorer, found[name] = make(cfg.task[name], f"task.{name}", ranks=Ranks()), {}
        for kind in _kinds(cfg, name):
            pairs = [pair for pair in held if pair.kind == kind]
            if name == "harm":
                pairs = [pair._replace(chosen=pair.rejected, rejected=pair.chosen) for pair in pairs]
            if pairs:
                found[name][kind] = float(ranked_right(scorer, pairs).mean())
                table.add_row(name, kind, str(len(pairs)), f"{found[name][kind]:.3f}")
    (output_dir / "reward.json").write_text(json.dumps(found, indent=2))
    Console().print(table)
    return found


def _kinds(cfg: DictConfig, name: str) -> list[str]:
    measured_on = {"helpful": [cfg.task.helpful_kind], "harm": [cfg.task.harmful_kind]}
    return measured_on.get(name, [str(kind) for kind in cfg.task.data.heldout])


if __name__ == "__main__":
    main()
