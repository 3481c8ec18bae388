"""Which checkpoint ``resume`` means, and the config a resumed run goes on with: its own.

Only keys that do not change the run's meaning may be overridden while resuming.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from rrl import checkpoint
from rrl.reading import yaml_of
from rrl.stored import config_of
from rrl.sweep.record import HARMLESS

if TYPE_CHECKING:
    from rrl.ranks import Ranks

log = logging.getLogger(__name__)

MAY_CHANGE = ("run.token_budget", *(key for key in HARMLESS if key not in ("resume", "expected")))
_MOST_SHOWN = 4


def find(resume: str) -> Path:
    """The checkpoint that ``resume`` names: a run folder, a checkpoint folder, or "latest" under outputs/.

    Of a run it is the newest whole one; damaged ones are named in the log.

    Raises:
      ValueError: nothing of that kind is there.
    """
    if not resume:
        raise ValueError("resume is empty; expected a run folder, a checkpoint folder or 'latest': was a variable of "
                         "the shell not set? resume=null begins a new run")  # fmt: skip
    if resume == "latest":
        begun = [p for p in Path("outputs").glob("**/checkpoints") if any(p.glob("step_*/meta.json"))]
        runs = sorted(begun, key=lambda p: p.stat().st_mtime)
        if not runs:
            raise ValueError("resume is 'latest', but no run under outputs/ has checkpoints; name a run folder")
        log.info("resume=latest is %s", runs[-1].parent)  # by the clocks of the machines that wrote them
        return checkpoint.latest(runs[-1].parent)
    if not Path(resume).is_dir():
        raise ValueError(
            f"resume is {resume!r}, which is not a folder; expected a run folder, a checkpoint folder or 'latest'"
        )
    found = checkpoint.latest(Path(resume))
    found = found.resolve() if found.is_symlink() else found  # `best` is a link to a step
    if not found.resolve().parent.name.startswith("checkpoints"):  # the run goes on in the folder above those
        raise ValueError(
            f"resume is {resume!r}, which is in no run's folder of checkpoints; expected a run folder or one such as "
            "<run>/checkpoints/step_000100: rrl-review and rrl-store open a store that is kept by itself"
        )
    return found


def continued(cfg: DictConfig, overrides: Sequence[str], folder: Path) -> DictConfig:
    """The config stored in checkpoint ``folder``, with the harmless overrides of the command line, which are logged.

    Raises:
      ValueError: an override would change what the run means; both values are shown.
    """
    meta = checkpoint.meta_of(folder)
    given = [override.lstrip("+~").split("=", 1)[0].split("@")[0] for override in overrides]
    stored = config_of(meta, folder, granted=given)
    for override, key in zip(overrides, given, strict=True):
        if key == "resume":
            continue
        dotted = key.replace("/", ".")
        before, now = _plain(stored, dotted), _plain(cfg, dotted)
        if before is None and now is None:  # an experiment or a setting: many keys at once
            raise ValueError(f"{override!r} cannot be given while resuming: a run goes on with its own config; drop it")
        if before == now:
            continue
        changes = "; ".join(f"{name} = {then}, now {given}" for name, then, given in _changes(dotted, before, now))
        if not any(dotted == free or dotted.startswith(f"{free}.") for free in MAY_CHANGE):
            raise ValueError(
                f"{override!r} would change a resumed run: the checkpoint has {changes}; "
                f"drop it, or start a new run. While resuming, only {', '.join(MAY_CHANGE)} may change"
            )
        if dotted == "run.token_budget" and isinstance(now, int) and now < meta.get("sampled_tokens", 0):
            raise ValueError(
                f"{override!r} ends the run in its past: the checkpoint has {meta['sampled_tokens']} sampled tokens "
                f"of run.token_budget = {before}; expected at least as many"
            )
        log.warning("resuming with %s", changes)
        if now is None and "." in dotted:  # ~tracker.wandb
            parent, _, name = dotted.rpartition(".")
            OmegaConf.select(stored, parent).pop(name)
            continue
        OmegaConf.update(stored, dotted, OmegaConf.select(cfg, dotted), merge=False)
        if dotted == "run.token_budget" and "console" in stored.tracker:
            stored.tracker.console.token_budget = now  # resolved when the run began
    stored.resume = cfg.resume
    return stored


def agreed(ranks: Ranks, cfg: DictConfig, folder: Path, found: Path | None) -> Path:
    """Rank 0's run folder, once all ranks are known to begin alike.

    A clock names folders, and the disk of another machine may be behind: ranks that differ would wait for each other
    in different places.

    Args:
      found: the checkpoint that this rank goes on from; None = from the beginning.
    Raises:
      ValueError: another rank has another config or another checkpoint; both are shown.
    """
    if ranks.size > 1:
        ranks.agree("the checkpoint to go on from", str(found and found.name))
        configs = ranks.gather([OmegaConf.to_container(cfg, resolve=True)])
        for rank, theirs in enumerate(configs):
            for key, first, value in _leaves("", configs[0], theirs):
                raise ValueError(f"{key.lstrip('.')} is {first!r} on rank 0 and {value!r} on rank {rank}; "
                                 "expected the same command on every rank")  # fmt: skip
    before = checkpoint.meta_of(found).get("ranks", ranks.size) if found else ranks.size
    if before != ranks.size:
        log.warning("resuming on %d ranks a run that was on %d: it goes on equal to rounding, until a draw is as close "
                    "as that", ranks.size, before)  # fmt: skip
    return ranks.broadcast(folder)


def overrides_of(run: Path, now: Sequence[str]) -> list[str]:
    """What makes a resumed run an arm: the overrides that it began with, then those of this command line."""
    path = run / ".hydra" / "overrides.yaml"
    try:
        first = yaml_of(path.read_text(encoding="utf-8")) if path.is_file() else []
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read ({' '.join(str(error).split())}); expected the list of "
                         "overrides that the run began with: delete the file, and they are forgotten") from error
    began = map(str, first if isinstance(first, list) else [])
    return [*began, *(override for override in now if not override.startswith("resume="))]


def _plain(cfg: DictConfig, dotted: str) -> Any:
    node = OmegaConf.select(cfg, dotted)
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _changes(key: str, before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    """(key, before, now) of a few leaves that differ; a chosen option has many."""
    found = list(_leaves(key, before, now))
    if len(found) <= _MOST_SHOWN:
        return found
    shown, (name, then, given) = found[: _MOST_SHOWN - 1], found[-1]
    return [*shown, (f"{len(found) - len(shown)} others, among them {name}", then, given)]


def _leaves(key: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            yield from _leaves(f"{key}.{name}", before.get(name), now.get(name))
    elif before != now:
        yield key, before, now
