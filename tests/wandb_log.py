"""What a W&B run wrote, read back from its own transaction log.

Its format: rrl/tracker/wandb_log.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rrl.tracker.wandb_log import items_of, records_in


@dataclass(kw_only=True)
class Written:
    """config and summary by key; run: the record of the run itself; axes: metric -> its step_metric; history: one dict
    a row; artifacts: (name, type, aliases, paths in it)."""

    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    run: Any = None
    axes: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[tuple[str, str, list[str], list[str]]] = field(default_factory=list)
    ended: bool = False


def read_back(path: Path) -> Written:
    """Everything of one ``run-<id>.wandb`` of a run that ended. W&B's own process may still be writing its last
    records when ``finish`` has come back, so this waits for the one that says how the run ended."""
    for _ in range(200):
        if (found := _read(path)).ended:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{path} does not say that the run ended; it holds {len(found.history)} history rows")


def _read(path: Path) -> Written:
    from wandb.proto import wandb_internal_pb2 as pb

    found = Written()
    for raw in records_in(path.read_bytes()):
        record = pb.Record.FromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= items_of(record.run.config.update)
        elif kind == "config":
            found.config |= items_of(record.config.update)
        elif kind == "summary":
            found.summary |= items_of(record.summary.update)
        elif kind == "metric":
            found.axes[record.metric.name] = record.metric.step_metric
        elif kind == "history":
            found.history.append(items_of(record.history.item))
        elif kind == "artifact":
            made = record.artifact
            contents = [entry.path for entry in made.manifest.contents]
            found.artifacts.append((made.name, made.type, sorted(made.aliases), contents))
        elif kind == "exit":
            found.ended = True
    return found
