"""Weights & Biases: online where an account is set up, else offline files to sync later.

wandb is imported and started at the first record, because its import takes seconds and its login
may fail: such a failure is the run's smallest problem.
"""

from __future__ import annotations

import json
import logging
import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rrl.metrics import CATALOGUE
from rrl.records import Progress
from rrl.types import Metrics

log = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]

_MODES: dict[str, Mode] = {"online": "online", "offline": "offline", "disabled": "disabled"}
_AXES = ("progress/step", "progress/sampled_tokens")


class Wandb:
    """One W&B run.

    Args:
      output_dir: W&B's files go to ``<output_dir>/wandb``.
      resolved_config: the whole config, shown with the run.
      project: W&B project.
      name: run name; the seed is appended.
      seed: of the run.
      mode: auto (online where an API key is set up, else offline; WANDB_MODE wins), online, offline, disabled.
      group: runs shown together; empty = the run's name, so that seeds of one arm form a group.
      job_type: W&B job type.
      tags: W&B tags.
      axis: the x axis of every plot, progress/sampled_tokens or progress/step; both are recorded.
      upload_artifacts: also upload what ``artifact`` is given.
      max_table_rows: rows of a table that are sent; >= 1.
    """

    def __init__(
        self,
        *,
        output_dir: Path,
        resolved_config: dict[str, Any],
        seed: int,
        project: str,
        name: str,
        mode: Literal["auto", "online", "offline", "disabled"],
        group: str,
        job_type: str,
        tags: list[str],
        axis: Literal["progress/sampled_tokens", "progress/step"],
        upload_artifacts: bool,
        max_table_rows: int,
    ) -> None:
        if not project:
            raise ValueError("tracker.wandb.project is empty; expected the name of a W&B project")
        if max_table_rows < 1:
            raise ValueError(f"tracker.wandb.max_table_rows is {max_table_rows}; expected >= 1")
        self._folder, self._config, self._seed = output_dir, resolved_config, seed
        self._project, self._name, self._group, self._job_type, self._tags = project, name, group, job_type, tags
        self._mode: Mode = resolve_mode() if mode == "auto" else mode
        self._axis, self._upload_artifacts, self._max_table_rows = axis, upload_artifacts, max_table_rows
        self._run: Any = None
        self._started = False
        self._resumed = False

    def log(self, progress: Progress, metrics: Metrics) -> None:
        """One history row; ``progress/*`` are its axes (W&B's own step restarts at 0 on a resume)."""
        if (run := self._open()) is not None:
            run.log(dict(zip(_AXES, (progress.step, progress.sampled_tokens), strict=True)) | metrics)

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Rows as a W&B table; nested values as JSON text."""
        if rows and (run := self._open()) is not None:
            import wandb

            columns: list[str | int] = list(rows[0])
            data = [[_plain(row.get(str(c))) for c in columns] for row in rows[: self._max_table_rows]]
            run.log({f"tables/{name}": wandb.Table(columns=columns, data=data)})

    def artifact(self, path: Path) -> None:
        """Upload a file or folder, where upload_artifacts says so."""
        if self._upload_artifacts and (run := self._open()) is not None:
            run.log_artifact(str(path), name=f"{run.id}-{path.stem}", type=path.suffix.lstrip(".") or "folder")

    def resume_at(self, step: int) -> None:  # noqa: ARG002  (rows carry their own step; none can be taken back)
        """Go on with the W&B run of this folder."""
        self._resumed = True

    def close(self, status: str) -> None:
        """Finish the W&B run; anything but "finished" is marked as failed there."""
        if self._run is not None:
            self._run.summary["status"] = status
            self._run.finish(exit_code=0 if status == "finished" else 1)
            self._run = None
        self._started = True  # a closed run is not opened again

    def _open(self) -> Any:
        # One try only: a login that fails would otherwise cost its timeout at every step.
        if self._started or self._mode == "disabled":
            return self._run
        self._started = True
        os.environ.setdefault("WANDB_SILENT", "true")  # a sweep of 20 runs would print 20 banners
        import wandb

        id_file = self._folder / "wandb_id.txt"
        old_id = id_file.read_text().strip() if self._resumed and id_file.is_file() else None
        self._run = wandb.init(
            project=self._project,
            name=f"{self._name}-seed{self._seed}",
            group=self._group or self._name,
            job_type=self._job_type,
            tags=self._tags,
            config=self._config,
            dir=str(self._folder),
            mode=self._mode,
            id=old_id,
            resume="allow" if old_id else None,
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off"),
        )
        id_file.write_text(self._run.id)
        for axis in _AXES:
            self._run.define_metric(axis, hidden=True)
        for room in sorted({name.split("/")[0] for name in CATALOGUE} - {"progress"}):
            self._run.define_metric(f"{room}/*", step_metric=self._axis)
        if self._mode == "offline":
            log.info("wandb is offline; to upload this run later: wandb sync %s", Path(self._run.dir).parent)
        return self._run


def resolve_mode() -> Mode:
    """What auto means here: WANDB_MODE where set, else online with an API key in WANDB_API_KEY or in a
    netrc file, else offline.

    Raises:
      ValueError: WANDB_MODE is none of W&B's modes.
    """
    asked = os.environ.get("WANDB_MODE", "")
    if not asked:
        return "online" if os.environ.get("WANDB_API_KEY") or _has_netrc_login() else "offline"
    if asked not in _MODES:
        raise ValueError(f"WANDB_MODE is {asked!r}; expected one of {', '.join(_MODES)}, or leave it unset")
    return _MODES[asked]


def _has_netrc_login() -> bool:
    host = os.environ.get("WANDB_BASE_URL", "api.wandb.ai").removeprefix("https://").removeprefix("http://").rstrip("/")
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if path.is_file() and netrc.netrc(path).authenticators(host):
                return True
        except (netrc.NetrcParseError, OSError):
            continue  # a file we cannot read holds no login for us
    return False


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value)
