"""Weights & Biases: online where an account is set up, else offline files to sync later.

wandb is imported and started at the first record, because its import takes seconds and its login
may fail: such a failure is the run's smallest problem. ``metrics.jsonl`` stays the source of truth.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rrl.metrics import CATALOGUE
from rrl.protocols import Task
from rrl.provenance import provenance
from rrl.records import Attempt, Progress
from rrl.tracker.sweep import shortened, sweep_of
from rrl.tracker.tables import bounded, rollout_rows
from rrl.tracker.wandb_artifacts import Artifacts, Rule
from rrl.tracker.wandb_log import last_step, records_between
from rrl.tracker.wandb_memory import Memory, remembered
from rrl.tracker.wandb_mode import Mode, resolve_mode
from rrl.types import Metrics

log = logging.getLogger(__name__)

STEP, TOKENS = "progress/step", "progress/sampled_tokens"
_MOST_CHARS = {"project": 128, "name": 120, "group": 128, "job_type": 64, "tags": 64}
"""W&B's server refuses more, and an offline run finds out when it is synced (wandb issue 6402); a name gets a seed."""


class Wandb:
    """One W&B run. Every history row carries step and sampled tokens; every metric of the catalogue is defined
    against ``axis``, and sampled tokens against steps.

    Args:
      output_dir: W&B's files go to ``<output_dir>/wandb``; ``wandb_run.json`` beside it is what a resume goes on from.
      resolved_config: the whole config, shown with the run.
      seed: of the run.
      task: spells rollouts.
      project: W&B project.
      name: run name; the seed is appended.
      mode: auto (online where an API key is set up, else offline; WANDB_MODE wins), online, offline, disabled.
      group: runs shown together; empty = the sweep's name, or the run's own, so that seeds of one arm form a group.
      job_type: empty = the arm of the sweep (the run's name and what this job changes), or "train" by itself.
      tags: W&B tags.
      axis: the x axis of every plot, progress/sampled_tokens or progress/step.
      checkpoint_artifacts, store_artifacts: none, last (one, when the run ends) or best (a version whenever
        ``best_metric`` has got better since the last one).
      best_metric: a name of the catalogue that has a better direction.
      rollouts_every_steps: steps between tables of rollouts, the first at step 0; 0 = none.
      max_rollouts: rows of such a table; >= 1.
      max_table_rows, max_table_bytes, max_cell_chars: bounds of every table; >= 1.
    """

    def __init__(
        self, *, output_dir: Path, resolved_config: dict[str, Any], seed: int, task: Task, project: str, name: str,
        mode: Literal["auto", "online", "offline", "disabled"], group: str, job_type: str, tags: list[str],
        axis: Literal["progress/sampled_tokens", "progress/step"], checkpoint_artifacts: Rule, store_artifacts: Rule,
        best_metric: str, rollouts_every_steps: int, max_rollouts: int, max_table_rows: int, max_table_bytes: int,
        max_cell_chars: int,
    ) -> None:  # fmt: skip
        if not project:
            raise ValueError("tracker.wandb.project is empty; expected the name of a W&B project")
        named = {"project": [project], "name": [name], "group": [group], "job_type": [job_type], "tags": tags}
        for key, text in ((key, text) for key, texts in named.items() for text in texts):
            if len(text) > _MOST_CHARS[key]:
                raise ValueError(f"tracker.wandb.{key} has {len(text)} characters ({text!r}); W&B takes at most "
                                 f"{_MOST_CHARS[key]}")
        bounds = {"max_table_rows": max_table_rows, "max_table_bytes": max_table_bytes,
                  "max_cell_chars": max_cell_chars}
        for key, value in {**bounds, "max_rollouts": max_rollouts}.items():
            if value < 1:
                raise ValueError(f"tracker.wandb.{key} is {value}; expected >= 1")
        if rollouts_every_steps < 0:
            raise ValueError(f"tracker.wandb.rollouts_every_steps is {rollouts_every_steps}; expected >= 0 (0 = none)")
        self._folder, self._config, self._seed, self._task = output_dir, resolved_config, seed, task
        self._project, self._name, self._group, self._job_type, self._tags = project, name, group, job_type, tags
        self._mode: Mode = resolve_mode() if mode == "auto" else mode
        self._axis, self._bounds, self._shortened = axis, bounds, set[str]()
        self._artifacts = Artifacts(
            rules={"checkpoint": checkpoint_artifacts, "store": store_artifacts}, best_metric=best_metric
        )
        self._rollouts_every, self._max_rollouts = rollouts_every_steps, max_rollouts
        self._run: Any = None
        self._memory: Memory | None = None
        self._pending: dict[str, Any] = {}  # tables that go into the next row
        self._where: dict[str, int] = {}
        self._started = False
        self._resumed_at: int | None = None
        self._told = Memory(id="").step  # the last step that W&B knew of when the run was resumed

    def log(self, progress: Progress, metrics: Metrics) -> None:
        """One history row; a step that was told before a resume is not told again."""
        run = self._open()
        self._artifacts.note(metrics)
        if run is None or progress.step <= self._told:
            return
        self._where = {STEP: progress.step, TOKENS: progress.sampled_tokens}
        pending, self._pending = self._pending, {}
        self._write(self._where | metrics | pending)

    def rollouts(self, progress: Progress, attempts: Sequence[Attempt]) -> None:
        """Some of a step's rollouts as a table of the next row, every ``rollouts_every_steps`` steps."""
        due = self._rollouts_every and progress.step >= 0 and progress.step % self._rollouts_every == 0
        if due and self._open() is not None and progress.step >= self._told:
            rows = rollout_rows(attempts, progress, num=self._max_rollouts, decode=self._task.decode)
            self._pending |= self._table("rollouts", rows)

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Rows as a W&B table, where the run stands now."""
        if rows and self._open() is not None:
            self._write(self._where | self._table(name, rows))

    def wants(self, kind: str) -> bool:
        """Whether ``artifact`` has a use for this kind: "checkpoint" or "store"."""
        return self._mode != "disabled" and self._artifacts.wants(kind)

    def artifact(self, path: Path, kind: str) -> None:
        """Keep a folder of the run as ``<kind>-<run id>``, as the config asks for this kind."""
        if not self.wants(kind) or self._open() is None:
            return
        assert self._memory is not None
        if self._artifacts.is_best(path, kind, self._memory.best):
            self._memory.save(self._folder)
            self._keep(path, kind, "best")

    def resume_at(self, step: int) -> None:
        """Go on with the W&B run of this folder. Steps behind ``step`` that it has stay and are not told again; those
        up to ``step`` that it has not are told from metrics.jsonl."""
        self._resumed_at = step

    def close(self, status: str) -> None:
        """Finish the W&B run; anything but "finished" is marked as failed there."""
        if self._run is not None:
            for kind, path in self._artifacts.last.items():
                self._keep(path, kind, "last")
            self._run.summary["status"] = status
            self._run.finish(exit_code=0 if status == "finished" else 1)
            if self._mode == "offline":
                parts = sorted(Path(self._run.dir).parents[1].glob(f"offline-run-*-{self._run.id}*"))
                log.info("wandb is offline; to upload this run: wandb sync %s", " ".join(map(str, parts)))
            self._run = None
        self._started = True  # a closed run is not opened again

    def _write(self, row: dict[str, Any]) -> None:
        """A row under the next number of the whole run: W&B's own count restarts at 0 in every process."""
        assert self._memory is not None
        self._run.log(row, step=self._memory.rows, commit=True)
        self._memory.rows, self._memory.step = self._memory.rows + 1, row.get(STEP, self._memory.step)
        self._memory.save(self._folder)

    def _table(self, name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import wandb

        fit = bounded(rows, max_rows=self._bounds["max_table_rows"], max_bytes=self._bounds["max_table_bytes"],
                      max_cell_chars=self._bounds["max_cell_chars"])
        if fit.left_out and name not in self._shortened:
            self._shortened.add(name)
            log.warning("table %s has %d rows; the first %d are sent (tracker.wandb.max_table_rows, max_table_bytes; "
                        "said once)", name, len(rows), len(fit.data))
        return {f"tables/{name}": wandb.Table(columns=list(fit.columns), data=fit.data)}

    def _keep(self, path: Path, kind: str, alias: str) -> None:
        import wandb

        made = wandb.Artifact(f"{kind}-{self._run.id}", type=kind, metadata={**self._where, "folder": path.name})
        made.add_dir(str(path))
        self._run.log_artifact(made, aliases=[alias])

    def _open(self) -> Any:
        # One try only: a login that fails would otherwise cost its timeout at every step.
        if self._started or self._mode == "disabled":
            return self._run
        self._started = True
        os.environ.setdefault("WANDB_SILENT", "true")  # a sweep of 20 runs would print 20 banners
        import wandb

        sweep, known = sweep_of(self._folder), None if self._resumed_at is None else remembered(self._folder)
        arm = f"{self._name} {sweep.arm}".strip() if sweep else "train"
        made = provenance("rrl-train")
        code = made | {"commit": made["commit"].rstrip("+"), "dirty": made["commit"].endswith("+")}
        self._run = wandb.init(
            project=self._project, name=f"{self._name}-seed{self._seed}",
            group=self._group or shortened(sweep.name if sweep else self._name, _MOST_CHARS["group"]),
            job_type=self._job_type or shortened(arm, _MOST_CHARS["job_type"]),
            tags=self._tags, config=self._config | {"code": code}, dir=str(self._folder), mode=self._mode,
            id=known.id if known else None, resume="allow" if known else None, reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip
        self._memory = known or Memory(id=self._run.id)
        self._memory.save(self._folder)
        self._run.define_metric(STEP, hidden=True)
        self._run.define_metric(TOKENS, step_metric=STEP)
        for name in CATALOGUE:
            if name not in (STEP, TOKENS):
                self._run.define_metric(name, step_metric=self._axis)
        if known is not None and self._resumed_at is not None:
            self._catch_up(known, self._resumed_at)
        return self._run

    def _catch_up(self, known: Memory, step: int) -> None:
        """Tell what W&B has not got of the steps up to ``step``: a kill takes what its own process had not written."""
        last = last_step(self._folder, known.id, STEP, own=Path(self._run.dir).parent,
                         server=self._run.summary.get(STEP), handed_over=known.step)
        missed = records_between(self._folder / "metrics.jsonl", last, step, STEP)
        for record in missed:
            self._write(record)
        if missed:
            log.info("wandb had steps up to %s only; %d records are told again from metrics.jsonl", last, len(missed))
        elif last is None or last < step:
            log.warning("wandb lacks steps up to %d behind %s, and metrics.jsonl does not have them", step, last)
        self._told = step if last is None else max(last, step)
