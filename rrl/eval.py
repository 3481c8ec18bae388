"""``rrl-eval``: sample a checkpoint's or a model's responses, say how good they are, compare them with a baseline's.

Samples are saved a shard at a time; what is read is made from them afterwards (``rrl.report.evaluation``), so a job
that is stopped goes on, and a finished one can be compared with others later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from rrl import debug, stored
from rrl.cli import speak
from rrl.typed import typed

if TYPE_CHECKING:
    from rrl.ranks import Ranks
    from rrl.report.evaluation.load import Evaluation
    from rrl.samples import Samples

_MAY_CHANGE = ("resume", "baseline", "num_threads", "samples.k")  # of an evaluation that goes on


def main() -> None:
    """The command. Exit code 1, with one line, where the command line or the checkpoint is wrong; 130 after Ctrl-C."""
    speak("rrl-eval", _job, config_name="eval")


@hydra.main(version_base="1.3", config_path="pkg://rrl.conf", config_name="eval")
def _job(cfg: DictConfig) -> None:
    context = HydraConfig.get()
    try:
        run(cfg, Path(context.runtime.output_dir), list(context.overrides.task))
    except ValueError as error:
        raise SystemExit(debug.line("rrl-eval", error)) from None
    except KeyboardInterrupt:
        folder = cfg.resume or context.runtime.output_dir
        sys.stderr.write(f"rrl-eval: stopped; go on with: {typed('rrl-eval', 'resume', folder)}\n")
        raise SystemExit(130) from None


def run(cfg: DictConfig, output_dir: Path, overrides: Sequence[str]) -> None:
    """Evaluate into a folder, then report and compare. Raises ValueError as its doors do."""
    import torch

    from rrl.capacity import enough
    from rrl.ranks import Ranks
    from rrl.report.evaluation.load import is_evaluation

    ranks = Ranks()
    try:
        folder = ranks.broadcast(output_dir)  # the hour is in its name, and ranks may see another one
        if cfg.resume is not None:
            cfg, folder = _resumed(cfg, overrides)
        elif ranks.on_main(is_evaluation, folder):
            raise ValueError(f"{str(folder)!r} holds an evaluation; go on with it, or report it anew, by "
                             f"rrl-eval resume={folder}; or choose another folder, as hydra.run.dir=<folder>")
        torch.set_num_threads(cfg.num_threads)
        with enough("an evaluation", {"samples": cfg.get("samples")}):
            _sample(cfg, folder, ranks, is_baseline=False)
        baseline = _baseline(cfg, folder, ranks)
        if ranks.is_main:
            from rrl.report.evaluation.write import finish_evaluation  # matplotlib takes a second to import

            finish_evaluation(folder, baseline=baseline)
    finally:
        ranks.close()


def _resumed(cfg: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """(config, folder) of the evaluation that ``resume`` names, with what may be changed."""
    folder = Path(cfg.resume)
    known = stored.from_yaml(folder / "config.yaml") if (folder / "config.yaml").is_file() else OmegaConf.create()
    if "samples" not in known:  # a training's folder has a config.yaml too
        raise ValueError(f"resume is {cfg.resume!r}, where no evaluation has begun; expected a folder of rrl-eval")
    for override in overrides:
        key = override.lstrip("+~").split("=", 1)[0]
        if key not in _MAY_CHANGE:
            raise ValueError(f"{override!r} cannot be given while resuming: an evaluation goes on with its own config; "
                             f"drop it. Only {', '.join(_MAY_CHANGE[1:])} may change")
        OmegaConf.update(known, key, OmegaConf.select(cfg, key), merge=False)
    return known, folder


def _sample(cfg: DictConfig, folder: Path, ranks: Ranks, *, is_baseline: bool) -> None:
    """Write what is missing of ``samples.jsonl``, and ``eval.json`` without figures."""
    from rrl import build
    from rrl.provenance import provenance
    from rrl.report.evaluation.load import RECORD, SAMPLES
    from rrl.samples import checked_k
    from rrl.shards import write_json
    from rrl.subject import subject_of

    before = ranks.on_main(_before, folder)
    if before is not None and before.finished:
        if ranks.is_main:
            k = checked_k(cfg.samples.k, before.record["request"]["num_samples"])
            write_json(folder / RECORD, before.record | {"k": list(k)})
        return
    folder.mkdir(parents=True, exist_ok=True)
    known = before.record["metrics"] if before is not None else {} if is_baseline else None
    subject = subject_of(cfg, folder, ranks, known)
    rooms = {"policy": subject.policy, "task": subject.task, "reward": subject.reward, "ranks": ranks}
    samples: Samples = build.make(cfg.samples, "samples", seed=cfg.seed, **rooms)
    record = {
        "status": "unfinished", "name": subject.name, "checkpoint": subject.checkpoint and str(subject.checkpoint),
        "step": subject.step, "temperature": subject.temperature, "metrics": subject.metrics, "k": list(samples.k),
        "request": samples.request(), "runs_code": subject.runs_code, **provenance("rrl-eval"),
    }  # fmt: skip
    _refuse_other(samples, before, cfg, folder)
    if ranks.is_main:
        if subject.checkpoint is not None:
            cfg.checkpoint = str(subject.checkpoint.resolve())  # a run that trains on has a newer one by then
        OmegaConf.save(cfg, folder / "config.yaml", resolve=True)
        write_json(folder / RECORD, record)
        (folder / SAMPLES).touch()
    _fill(samples, folder / SAMPLES, ranks, f"baseline {subject.name}" if is_baseline else subject.name)


def _fill(samples: Samples, path: Path, ranks: Ranks, name: str) -> None:
    """Sample the shards that are not in the file yet, with a bar on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from rrl.shards import Shards

    total = len(samples.problems)
    shards = Shards(path, num_lines=total, shard_size=samples.shard_problems) if ranks.is_main else None
    missing = ranks.broadcast(shards.missing() if shards is not None else [])
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
               TextColumn("problems"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not ranks.is_main) as progress:
        bar = progress.add_task(name, total=total, completed=missing[0][0] if missing else total)
        for first, last in missing:
            rows = samples.rows(first, last)
            if shards is not None:
                shards.append(rows)
            progress.update(bar, completed=last)


def _refuse_other(samples: Samples, before: Evaluation | None, cfg: DictConfig, folder: Path) -> None:
    """Raise ValueError where the rows would not belong to those that are there, or not to the baseline's."""
    from rrl.report.evaluation.load import is_evaluation, load_evaluation, problems_digest
    from rrl.subject import checkpoint_of

    request = samples.request()
    if before is not None and (other := [k for k, v in before.record["request"].items() if request[k] != v]):
        raise ValueError(f"{str(folder)!r} was begun with {other[0]} = {before.record['request'][other[0]]}, now "
                         f"{request[other[0]]}: its samples and new ones would not belong together; evaluate anew")
    if cfg.baseline is not None and not is_evaluation(Path(cfg.baseline)):
        checkpoint_of(cfg.baseline, "baseline")  # before hours of sampling, not behind them
    elif cfg.baseline is not None:
        there = load_evaluation(Path(cfg.baseline))
        if there.finished and problems_digest(there.rows) != problems_digest(samples.asked(samples.problems)):
            raise ValueError(f"baseline {cfg.baseline!r} is of other problems: {there.described}; expected the same "
                             "task, split, number, choice (seed) and data as here")


def _baseline(cfg: DictConfig, folder: Path, ranks: Ranks) -> Path | None:
    """The evaluation to compare with; a run or a checkpoint is evaluated first, below ``folder``."""
    from rrl.report.evaluation.load import is_evaluation
    from rrl.subject import checkpoint_of

    if cfg.baseline is None or is_evaluation(Path(cfg.baseline)):
        return None if cfg.baseline is None else Path(cfg.baseline)
    other = cfg.copy()
    OmegaConf.set_struct(other, False)  # the groups that nobody chose have no key
    for group in ("policy", "codec", "evaluate"):  # the baseline's own; task and reward are those used here
        other[group] = None
    other.checkpoint, other.baseline = str(checkpoint_of(cfg.baseline, "baseline")), None
    _sample(other, folder / "baseline", ranks, is_baseline=True)
    return folder / "baseline"


def _before(folder: Path) -> Evaluation | None:
    """What is there of an evaluation that goes on."""
    from rrl.report.evaluation.load import is_evaluation, load_evaluation

    return load_evaluation(folder) if is_evaluation(folder) else None


if __name__ == "__main__":
    main()
