"""``rrl-train``: compose a config, build the house, train, say what came out.

torch is imported late (through ``rrl.build``), so ``--cfg job``, ``--help`` and completion are quick.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rrl import debug, durable
from rrl.cli import speak
from rrl.sweep import record
from rrl.sweep.folder import refuse_folder_of_sweeps
from rrl.typed import typed

if TYPE_CHECKING:
    from rrl.build import House
    from rrl.records import Progress
    from rrl.types import Metrics

log = logging.getLogger(__name__)


def main() -> None:
    """The command. Exit code 1 where the command line is wrong or a run failed; 130 after Ctrl-C or SIGTERM, with a
    checkpoint of the last step: ``resume`` goes on from there."""
    refuse_folder_of_sweeps("rrl-train", sys.argv[1:])
    speak("rrl-train", _job, config_name="train")


@hydra.main(version_base="1.3", config_path="pkg://rrl.conf", config_name="train")
def _job(cfg: DictConfig) -> float | None:
    """Train one run. Returns eval/hard_success, for sweepers; nan where it failed, so that other jobs go on."""
    context = HydraConfig.get()
    folder, overrides = Path(context.runtime.output_dir), list(context.overrides.task)
    if OmegaConf.is_missing(context.job, "num") or "RANK" in os.environ:  # a single run, or one of several ranks
        return _attempt(cfg, folder, overrides, None, claimed=None)
    try:
        with record.claimed(folder):
            plan = record.plan(folder, cfg)
            log.info("%s: %s (%s)", plan.verb, folder.name, plan.why)
            if plan.verb == "skip":
                return plan.value
            if plan.verb == "start":
                record.clear(folder)
            return _attempt(cfg, folder, overrides, folder if plan.verb == "resume" else None, claimed=folder)
    except record.Taken as taken:
        return _left(context.mode, str(taken), code=record.TAKEN)
    except ValueError as refusal:
        record.append(folder, "refused", error=str(refusal))
        return _left(context.mode, str(refusal), code=1)


def _left(mode: RunMode | None, why: str, code: int) -> float:
    """A job that is not run: in a sweep of one process the next one follows."""
    if mode != RunMode.MULTIRUN:
        sys.stderr.write(f"rrl-train: {why}\n")
        raise SystemExit(code)
    log.error("%s", why)
    return float("nan")


def _attempt(
    cfg: DictConfig, folder: Path, overrides: list[str], saved: Path | None, *, claimed: Path | None
) -> float | None:
    """Run it, from the newest checkpoint in ``saved`` where that is given, and record how it ended.

    claimed: the folder that is held already. Any other is held here: two processes in one would cut each other's files.
    """
    mode, main_rank = HydraConfig.get().mode, os.environ.get("RANK", "0") == "0"
    ended: dict[str, Any] = {"status": "failed", "value": None, "error": None, "traceback": None, "fingerprint": None}
    held = ExitStack()
    try:
        cfg, home, checkpoint = _resumed(cfg, folder, overrides, saved)
        if main_rank and home != claimed:
            held.enter_context(record.claimed(home))
        if checkpoint and saved is None:
            from rrl.resume import overrides_of

            overrides = overrides_of(home, overrides)
        folder = home
        ended["fingerprint"] = record.fingerprint(cfg)
        if main_rank:
            from rrl.checkpoint import meta_of

            step = meta_of(checkpoint).get("step") if checkpoint else None
            record.begin(folder, ended["fingerprint"], step)
        ended |= run(cfg, folder, overrides, checkpoint)
    except KeyboardInterrupt:
        ended |= {"status": "interrupted", "error": "stopped at once, without a checkpoint of this step"}
    except (ValueError, FloatingPointError, OSError, OmegaConfBaseException, record.Taken) as error:
        debug.show(error)  # they speak to people: no traceback that was not asked for
        ended |= {"error": f"{error}{_fallback(error, folder)}", "traceback": traceback.format_exc()}
        ended["code"] = getattr(error, "exit_code", 1)
    except Exception as error:
        ended |= {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        log.exception("the run failed")
    finally:
        if main_rank:
            record.end(folder, {k: ended[k] for k in ("status", "value", "error", "traceback", "fingerprint")})
        held.close()
    if ended["status"] == "interrupted" or (ended.get("stop_asked") and mode == RunMode.MULTIRUN):
        raise SystemExit(130)  # also where the job had just ended: no other one of this process is to follow
    if ended["status"] == "failed":
        if mode != RunMode.MULTIRUN:
            sys.stderr.write(f"rrl-train: {' '.join(ended['error'].split())}\n")
            raise SystemExit(ended.get("code", 1))
        log.error("%s", ended["error"])
        return float("nan")
    value: float | None = ended["value"]
    return value


def _resumed(
    cfg: DictConfig, folder: Path, overrides: list[str], saved: Path | None
) -> tuple[DictConfig, Path, Path | None]:
    """Config, folder and checkpoint of the run: those of the resumed one where ``resume`` names it."""
    if cfg.resume is None and saved is None:
        return cfg, folder, None
    from rrl import resume

    if saved is not None:  # a job of a sweep, whose config is known to be the checkpoint's
        try:
            return cfg, folder, resume.find(str(saved))
        except ValueError as damaged:  # all of them; typing the sweep again would meet them again
            log.warning("%s: this job does, from its beginning", damaged)
            return cfg, folder, None
    checkpoint = resume.find(cfg.resume)
    return resume.continued(cfg, overrides, checkpoint), checkpoint.parent.parent, checkpoint


def _fallback(error: Exception, folder: Path) -> str:
    """Where to go back to when numbers have become NaN or infinite, or the disk full."""
    if isinstance(error, (ValueError, OmegaConfBaseException, record.Taken)) or os.environ.get("RANK", "0") != "0":
        return ""
    from rrl.checkpoint import latest

    try:
        return f"; the last good checkpoint is {latest(folder)}"
    except ValueError:
        return "; there is no checkpoint yet"


def run(cfg: DictConfig, output_dir: Path, overrides: list[str], checkpoint: Path | None) -> dict[str, Any]:
    """Validate, build, train, evaluate and report. Returns summary.json's content, and whether a stop was asked for."""
    import torch

    from rrl import build as building
    from rrl.capacity import enough
    from rrl.checkpoint import meta_of
    from rrl.ops.logprob import use_kernels
    from rrl.provenance import provenance
    from rrl.ranks import Ranks
    from rrl.report.summary import expected_of, finish_run
    from rrl.resume import agreed
    from rrl.stored import plain_config, running_code

    earlier = meta_of(checkpoint).get("seconds", 0.0) if checkpoint else 0.0  # of the run's other lives
    begin = time.perf_counter() - earlier
    ranks = Ranks(timeout_s=cfg.run.get("ranks_timeout_s") if isinstance(cfg.get("run"), DictConfig) else None)
    status = "failed"
    try:
        building.validate(cfg, ranks)
        output_dir = agreed(ranks, cfg, output_dir, checkpoint)
        torch.set_num_threads(cfg.run.num_threads)
        use_kernels(cfg.kernels)
        house, config = building.build(cfg, output_dir, ranks), plain_config(cfg)
        if ranks.is_main:
            OmegaConf.save(cfg, output_dir / "config.yaml", resolve=True)
        try:
            with enough("a step of this run", config):
                status, progress, final, asked = _train(house, output_dir, config, checkpoint)
        finally:
            house.tracker.close(status)
    except BaseException as error:
        ranks.close(f"{type(error).__name__}: {error}")  # the others are told why they were left
        raise
    finally:
        ranks.close()
    summary = {
        "name": cfg.name, "seed": cfg.seed, "status": status, "value": final.get("eval/hard_success"), "error": None,
        "steps": progress.step, "sampled_tokens": progress.sampled_tokens,
        "seconds": round(time.perf_counter() - begin, 1), "final": final,
        "expected": expected_of(cfg, house.task.name), "overrides": overrides,
        "runs_code": running_code(config), **provenance("rrl-train"),
    }  # fmt: skip
    if ranks.is_main:
        durable.write_text(output_dir / "summary.json", json.dumps(summary, indent=2))
        try:
            finish_run(output_dir)
        except (OSError, ValueError) as error:  # nobody reads our output, no room for plots: the run is what it is
            log.error("the run is %s; its report is not whole (%s); rrl-report makes it", status, error)
    return summary | {"stop_asked": asked}


def _train(
    house: House, output_dir: Path, config: dict[str, Any], checkpoint: Path | None
) -> tuple[str, Progress, Metrics, bool]:
    """(status, where it ended, last evaluation, whether somebody asked to stop)."""
    from rrl import loop
    from rrl.checkpoint import set_aside
    from rrl.saver import Saver, StopCleanly, StopRequested, first_progress, restore
    from rrl.turned import prefix_rows

    saver, status = Saver(house, output_dir, config), "finished"
    if checkpoint is None:
        progress = first_progress(house.run)
    else:
        progress = replace(restore(house, checkpoint), token_budget=house.run.token_budget)  # it may have been changed
    if house.ranks.is_main:
        set_aside(output_dir, after=None if checkpoint is None else progress.step)
    if checkpoint is not None:  # after those, or a kill in between would leave checkpoints that are newer than records
        house.tracker.resume_at(progress)
    with StopCleanly(saver):
        try:
            if checkpoint is None:
                saver.save(progress)  # what a failure in the first steps falls back to
            progress = loop.warm_up(house, progress, saver.after_step)
            progress = loop.train(house, progress, saver.after_step)
        except StopRequested as stop:
            progress, status = stop.progress, "interrupted"
            log.warning("stopped at step %d; go on with: %s", progress.step, typed("rrl-train", "resume", output_dir))
    final = house.evaluate.now(progress)  # logged by the last step already, where the run finished
    house.tracker.table("prefixes", prefix_rows(house))
    house.tracker.table("turned", house.exploration.turned.rows(house.policy.decode))
    return status, progress, final, saver.stop


if __name__ == "__main__":
    main()
