"""All trackers of a run behind one: checks names, drops what is not a number, survives its backends.

It must not know any backend. A backend that raises is logged once, with its cause, and called again
next time: a run is worth more than its plots. ``jsonl`` is the source of truth, the rest are views.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rrl.metrics import check_names, check_table
from rrl.protocols import Tracker
from rrl.records import Attempt, Progress
from rrl.types import Metrics

log = logging.getLogger(__name__)


class Trackers:
    """Hands every record to every backend.

    Args:
      trackers: backends by their config name; empty on all ranks but the first.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)
        self._failures: dict[str, int] = {}
        self._refused: set[str] = set()
        self._last: tuple[int, Metrics] = (0, {})

    def log(self, progress: Progress, metrics: Metrics) -> None:
        """One record. Raises ValueError for a name that is not in the catalogue; NaN and infinities
        are left out, with one warning a name."""
        check_names(list(metrics))
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._last = (progress.step, finite)
        for name in metrics.keys() - finite.keys() - self._refused:
            self._refused.add(name)
            log.warning("metric %s is %s at step %d: not recorded (said once)", name, metrics[name], progress.step)
        self._each("log", lambda tracker: tracker.log(progress, finite))

    def measured(self, name: str, step: int) -> float | None:
        """What the record of ``step`` says of a metric, where that is the last record and has it."""
        last, metrics = self._last
        return metrics.get(name) if last == step else None

    def sync(self) -> None:
        """Wait until every record is on the disk, for backends that keep them there. Raises OSError where it cannot."""
        for tracker in self._trackers.values():
            getattr(tracker, "sync", _no_disk)()

    def table(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """A table of the run as it stands now; it replaces the one of that name. Raises ValueError for a name that is
        not in the catalogue."""
        check_table(name)
        self._each("table", lambda tracker: tracker.table(name, rows))

    def rollouts(self, progress: Progress, attempts: Sequence[Attempt]) -> None:
        """A step's rollouts, before they are learned from, for the backends that show some of them."""
        self._each("rollouts", lambda tracker: getattr(tracker, "rollouts", _nothing)(progress, attempts))

    def wants(self, kind: str) -> bool:
        """Whether any backend has a use for artifacts of this kind: "checkpoint" or "store"."""
        return any(getattr(tracker, "wants", _no)(kind) for tracker in self._trackers.values())

    def artifact(self, path: Path, kind: str) -> None:
        """A folder of the run that is worth keeping beside it."""
        self._each("artifact", lambda tracker: tracker.artifact(path, kind))

    def resume_at(self, progress: Progress) -> None:
        """The run goes on from a checkpoint taken after the record of ``progress.step``: later records
        are forgotten by the backends that can. Call it before the first ``log``."""
        self._each("resume_at", lambda tracker: getattr(tracker, "resume_at", _nothing)(progress.step))

    def close(self, status: str) -> None:
        """The run is over: "finished", "interrupted" or "failed". May be called more than once."""
        self._each("close", lambda tracker: tracker.close(status))
        for name, count in self._failures.items():
            log.warning("tracker %s failed %d times in this run; metrics.jsonl does not depend on it", name, count)
        self._trackers = {}

    def _each(self, verb: str, call: Callable[[Tracker], None]) -> None:
        for name, tracker in self._trackers.items():
            try:
                call(tracker)
            except Exception as error:  # noqa: BLE001  (law: a backend's failure never stops training)
                if name not in self._failures:
                    log.warning(
                        "tracker %s: %s failed, training goes on (said once): %s: %s",
                        name,
                        verb,
                        type(error).__name__,
                        error,
                    )
                self._failures[name] = self._failures.get(name, 0) + 1


def _no_disk() -> None:
    """What a backend without files of its own does before a checkpoint."""


def _nothing(*_: object) -> None:
    """What a backend does that has no use for a verb."""


def _no(kind: str) -> bool:  # noqa: ARG001
    return False
