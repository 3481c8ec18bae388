"""A Hydra callback: when a multirun ends, its failed jobs are named and the command's exit code says so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rrl.sweep import record


class Outcome(Callback):
    """Hydra builds it from hydra/callbacks=report. It works for every launcher, since it reads the jobs' records."""

    def __init__(self) -> None:
        self._before: dict[Path, int] = {}  # events of each job; by number, for clocks are set back and nodes differ

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ARG002  (Hydra's signature)
        """Note what happened in the sweep's folder before."""
        self._before = {job: len(events) for job, events in _events_below(config).items()}

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ARG002  (Hydra's signature)
        """Say how the jobs below the sweep's folder ended. Raises SystemExit where one failed in this multirun."""
        now = {job: e[-1] for job, e in _events_below(config).items() if len(e) > self._before.get(job, 0)}
        bad = {job: event for job, event in now.items() if event["event"] in ("failed", "refused")}
        if bad:
            counts = Counter(event["event"] for event in bad.values())
            kinds = " and ".join(f"{n} of the jobs {kind}" for kind, n in counts.items())
            first = next(iter(bad.values()))["error"]
            raise SystemExit(
                f"rrl-train: {kinds}: {', '.join(map(str, bad))}; see done.json there. The first said: {first}\n"
                "The same command runs these again and skips finished ones."
            )


def _events_below(config: DictConfig) -> dict[Path, list[dict[str, Any]]]:
    folder = Path(str(config.hydra.sweep.dir))
    return {path.parent: record.events(path.parent) for path in sorted(folder.rglob("job.jsonl"))}
