"""What a run has told W&B, in ``<run>/wandb_run.json``: who goes on with it goes on exactly there."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "wandb_run.json"
_NEVER = -(1 << 62)
_BYTES = 512  # of the file: one write of a fixed size, in place, costs microseconds a step and is never seen in halves


@dataclass(slots=True, kw_only=True)
class Memory:
    """id: of the W&B run.  rows: history rows so far, W&B's own step.  step: the last one with a row.
    best: kind of artifact -> the metric's value when the last one was kept."""

    id: str
    rows: int = 0
    step: int = _NEVER
    best: dict[str, float] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Overwrite what ``folder`` remembers."""
        text = json.dumps(asdict(self)).ljust(_BYTES - 1) + "\n"
        assert len(text) == _BYTES, text
        file = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(file, text.encode(), 0)
        finally:
            os.close(file)


def remembered(folder: Path) -> Memory | None:
    """Of the run in ``folder``; None where W&B was never told of it."""
    path = folder / FILE
    return Memory(**json.loads(path.read_text())) if path.is_file() else None
