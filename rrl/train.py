"""``rrl-train``: compose a config, build the house, train, say what came out.

torch is imported late (through ``rrl.build``), so ``--cfg job``, ``--help`` and completion are quick.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rrl import durable
from rrl.cli import speak
from rrl.starts import plain

if TYPE_CHECKING:
    from rrl.build import House
    from rrl.records import Progress
    from rrl.saver import Saver
    from rrl.types import Metrics

log = logging.getLogger(__name__)


_FAILED: list[str] = []  # folders of this process's failed jobs; the basic launcher runs all of them here


def main() -> None:
    """The command. Exit code 1 where the command line is wrong or a run failed; 130 after Ctrl-C or SIGTERM, with a
    checkpoint of the last step: ``resume`` goes on from there."""
    speak("rrl-train", _job, config_name="train")
    if _FAILED:
        raise SystemExit(f"rrl-train: {len(_FAILED)} of the jobs failed: {', '.join(_FAILED)}; see done.json there")


@hydra.main(version_base="1.3", config_path="pkg://rrl.conf", config_name="train")
def _job(cfg: DictConfig) -> float | None:
    """Train one run. Returns eval/hard_success, for sweepers; nan where it failed, so that other jobs go on."""
    context = HydraConfig.get()
    folder, overrides = Path(context.runtime.output_dir), list(context.overrides.task)
    record: dict[str, Any] = {"status": "failed", "value": None, "error": None, "traceback": None}
    try:
        cfg, folder, checkpoint = _resumed(cfg, folder, overrides)
        record |= run(cfg, folder, overrides, checkpoint)
    except KeyboardInterrupt:
        record |= {"status": "interrupted", "error": "stopped at once, without a checkpoint of this step"}
    except (ValueError, FloatingPointError, OSError) as error:  # they speak to people: one line, no traceback
        record |= {"error": f"{error}{_fallback(error, folder)}", "traceback": traceback.format_exc()}
    except Exception as error:
        record |= {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        log.exception("the run failed")
    finally:
        if os.environ.get("RANK", "0") == "0":
            _leave(folder, {k: record[k] for k in ("status", "value", "error", "traceback")})
    if record["status"] == "interrupted":
        raise SystemExit(130)
    if record["status"] == "failed":
        if context.mode != RunMode.MULTIRUN:
            raise SystemExit(f"rrl-train: {record['error']}")
        log.error("%s", record["error"])
        _FAILED.append(str(folder))
        return float("nan")
    value: float | None = record["value"]
    return value


def _resumed(cfg: DictConfig, folder: Path, overrides: list[str]) -> tuple[DictConfig, Path, Path | None]:
    """Config, folder and checkpoint of the run: those of the resumed one where ``resume`` names it."""
    if not cfg.resume:
        return cfg, folder, None
    from rrl import resume

    checkpoint = resume.find(cfg.resume)
    return resume.continued(cfg, overrides, checkpoint), checkpoint.parent.parent, checkpoint


def _leave(folder: Path, done: dict[str, Any]) -> None:
    """``done.json``: how the run ended. A full disk must not hide it."""
    try:
        durable.write_text(folder / "done.json", json.dumps(done, indent=2))
    except OSError as error:
        log.error("done.json could not be written: %s", error)


def _fallback(error: Exception, folder: Path) -> str:
    """Where to go back to when numbers have become NaN or infinite, or the disk full."""
    if isinstance(error, ValueError):
        return ""
    from rrl.checkpoint import latest

    try:
        return f"; the last good checkpoint is {latest(folder)}"
    except ValueError:
        return "; there is no checkpoint yet"


def run(cfg: DictConfig, output_dir: Path, overrides: list[str], checkpoint: Path | None) -> dict[str, Any]:
    """Validate, build, train, evaluate and report. Returns the run's record, also in ``summary.json``."""
    import torch

    from rrl import build as building
    from rrl.checkpoint import meta_of
    from rrl.ops.logprob import use_kernels
    from rrl.provenance import provenance
    from rrl.ranks import Ranks
    from rrl.report.summary import finish_run

    begin = time.perf_counter() - (meta_of(checkpoint)["seconds"] if checkpoint else 0.0)  # of the run's earlier lives
    ranks = Ranks()
    status = "failed"
    try:
        building.validate(cfg, ranks)
        torch.set_num_threads(cfg.run.num_threads)
        use_kernels(cfg.kernels)
        house = building.build(cfg, output_dir, ranks)
        if ranks.is_main:
            OmegaConf.save(cfg, output_dir / "config.yaml", resolve=True)
        try:
            status, progress, final = _train(house, output_dir, cfg, checkpoint)
        finally:
            house.tracker.close(status)
    finally:
        ranks.close()
    record = {
        "name": cfg.name, "seed": cfg.seed, "status": status, "value": final.get("eval/hard_success"), "error": None,
        "steps": progress.step, "sampled_tokens": progress.sampled_tokens,
        "seconds": round(time.perf_counter() - begin, 1), "final": final,
        "expected": expected_of(cfg, house.task.name), "overrides": overrides, **provenance("rrl-train"),
    }  # fmt: skip
    if ranks.is_main:
        durable.write_text(output_dir / "summary.json", json.dumps(record, indent=2))
        finish_run(output_dir)
    return record


def _train(house: House, output_dir: Path, cfg: DictConfig, checkpoint: Path | None) -> tuple[str, Progress, Metrics]:
    """(status, where it ended, last evaluation)."""
    from rrl import loop
    from rrl.checkpoint import set_aside
    from rrl.saver import Saver, StopRequested, first_progress, restore

    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    saver, status = Saver(house, output_dir, {str(k): v for k, v in config.items()}), "finished"
    if checkpoint is None:
        progress = first_progress(house.run)
    else:
        progress = replace(restore(house, checkpoint), token_budget=house.run.token_budget)  # it may have been changed
    if house.ranks.is_main:
        set_aside(output_dir, after=None if checkpoint is None else progress.step)
    if checkpoint is not None:  # after those, or a kill in between would leave checkpoints that are newer than records
        house.tracker.resume_at(progress)
    with _StopCleanly(saver):
        try:
            if checkpoint is None:
                saver.save(progress)  # what a failure in the first steps falls back to
            progress = loop.warm_up(house, progress, saver.after_step)
            progress = loop.train(house, progress, saver.after_step)
        except StopRequested as stop:
            progress, status = stop.progress, "interrupted"
            log.warning("stopped at step %d; continue with: rrl-train resume=%s", progress.step, output_dir)
    final = house.evaluate.now(progress)  # logged by the last step already, where the run finished
    house.tracker.table("prefixes", prefix_rows(house))
    return status, progress, final


def expected_of(cfg: DictConfig, task: str) -> dict[str, Any]:
    """What the experiment promises on this task: metric -> [value, tolerance]; nothing elsewhere."""
    promised = OmegaConf.to_container(cfg.expected) if cfg.expected else {}
    assert isinstance(promised, dict)
    pairs: dict[str, Any] = promised.get(task, {})
    return pairs


def prefix_rows(house: House) -> list[dict[str, Any]]:
    """The store's states with their text, most used first, for the report's page of prefixes."""
    rows = sorted(house.replay.rows(), key=lambda r: (-r["uses"], r["key"]))
    return [r | {"text": house.policy.decode(plain(tuple(r["tokens"])))} for r in rows]


class _StopCleanly:
    """Ctrl-C and SIGTERM ask the saver to stop after the step; a second one stops at once."""

    def __init__(self, saver: Saver) -> None:
        self._saver = saver

    def __enter__(self) -> None:
        self._old = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        if self._saver.stop:
            raise KeyboardInterrupt
        self._saver.stop = True
        log.warning("stopping after this step (once more to stop at once)")


if __name__ == "__main__":
    main()
