"""Which checkpoint ``resume`` means, and the config a resumed run goes on with: its own.

Only keys that do not change the run's meaning may be overridden while resuming.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from rrl import checkpoint

MAY_CHANGE = ("run.token_budget", "run.checkpoint_every", "run.keep_checkpoints", "run.num_threads", "tracker")


def find(resume: str) -> Path:
    """The checkpoint that ``resume`` names: a run folder, a checkpoint folder, or "latest" under outputs/.

    Raises:
      ValueError: nothing of that kind is there.
    """
    if resume == "latest":
        runs = sorted(Path("outputs").glob("**/checkpoints"), key=lambda p: p.stat().st_mtime)
        if not runs:
            raise ValueError("resume is 'latest', but no run under outputs/ has checkpoints; name a run folder")
        return checkpoint.latest(runs[-1].parent)
    if not Path(resume).is_dir():
        raise ValueError(
            f"resume is {resume!r}, which is not a folder; expected a run folder, a checkpoint folder or 'latest'"
        )
    return checkpoint.latest(Path(resume))


def continued(cfg: DictConfig, overrides: Sequence[str], folder: Path) -> DictConfig:
    """The config stored in checkpoint ``folder``, with the harmless overrides of the command line.

    Raises:
      ValueError: an override would change what the run means; both values are shown.
    """
    _, meta = checkpoint.load(folder)
    stored = OmegaConf.create(meta["config"])
    assert isinstance(stored, DictConfig)
    for override in overrides:
        key = override.lstrip("+~").split("=", 1)[0]
        if key == "resume":
            continue
        dotted = key.replace("/", ".")
        before, now = OmegaConf.select(stored, dotted), OmegaConf.select(cfg, dotted)
        if before is None and now is None:  # an experiment or a setting: many keys at once
            raise ValueError(f"{override!r} cannot be given while resuming: a run goes on with its own config; drop it")
        if before == now:
            continue
        if not dotted.startswith(MAY_CHANGE):
            raise ValueError(
                f"{override!r} would change a resumed run: the checkpoint has {dotted} = {before}, now {now}; "
                f"drop it, or start a new run. While resuming, only {', '.join(MAY_CHANGE)} may change"
            )
        OmegaConf.update(stored, dotted, now, merge=False)
        if dotted == "run.token_budget" and "console" in stored.tracker:
            stored.tracker.console.token_budget = now  # resolved when the run began
    stored.resume = cfg.resume
    return stored
