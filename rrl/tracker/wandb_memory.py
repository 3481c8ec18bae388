"""What a run has told W&B, in ``<run>/wandb_run.json``: who goes on with it goes on exactly there."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "wandb_run.json"
_NEVER = -(1 << 62)


@dataclass(slots=True, kw_only=True)
class Memory:
    """id: of the W&B run.  rows: history rows so far, W&B's own step.  step: the last one with a row.
    best: kind of artifact -> the metric's value when the last one was kept."""

    id: str
    rows: int = 0
    step: int = _NEVER
    best: dict[str, float] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Written beside and renamed: a kill leaves the old one or the new one."""
        beside = folder / (FILE + ".tmp")
        beside.write_text(json.dumps(asdict(self)))
        os.replace(beside, folder / FILE)


def remembered(folder: Path) -> Memory | None:
    """Of the run in ``folder``; None where W&B was never told of it."""
    path = folder / FILE
    return Memory(**json.loads(path.read_text())) if path.is_file() else None
