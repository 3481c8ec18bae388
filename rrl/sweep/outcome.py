"""A Hydra callback: when a multirun ends, its failed jobs are named and the command's exit code says so."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from rrl.sweep import record


class Outcome(Callback):
    """Hydra builds it from hydra/callbacks=report. It works for every launcher, since it reads the jobs' records."""

    def __init__(self) -> None:
        self._began = time.time()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ARG002  (Hydra's signature)
        """Say how the jobs below the sweep's folder ended. Raises SystemExit where one failed in this multirun."""
        folder = Path(str(config.hydra.sweep.dir))
        last = {path.parent: (record.events(path.parent) or [{}])[-1] for path in sorted(folder.rglob("job.jsonl"))}
        now = {job: event for job, event in last.items() if event.get("time", 0.0) >= self._began}
        bad = {job: event for job, event in now.items() if event["event"] in ("failed", "refused")}
        if bad:
            counts = Counter(event["event"] for event in bad.values())
            kinds = " and ".join(f"{n} of the jobs {kind}" for kind, n in counts.items())
            first = next(iter(bad.values()))["error"]
            raise SystemExit(
                f"rrl-train: {kinds}: {', '.join(map(str, bad))}; see done.json there. The first said: {first}\n"
                "The same command runs these again and skips finished ones."
            )
