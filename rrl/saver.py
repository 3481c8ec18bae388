"""When a run is saved, what goes into a checkpoint, and how a run continues from one."""

from __future__ import annotations

import dataclasses
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from rrl import checkpoint
from rrl.annotations import fit
from rrl.protocols import Growing, Relative, Replay
from rrl.records import Progress, Signals

if TYPE_CHECKING:
    from rrl.build import House

log = logging.getLogger(__name__)

_SAME_REQUEST_S = 2.0  # signals that are no farther apart are one request to stop, but for Ctrl-C
_WARNINGS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # sbatch --signal, submitit, a lost connection
_MOST_SHOWN = 300  # characters of an option; a whole policy has pages
UNFIT = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError,
          AssertionError)  # fmt: skip  (what rooms raise for a state that is not one of theirs)
ROOMS = ("policy", "value", "learner", "replay", "exploration", "recall")


class StopRequested(Exception):
    """Somebody asked to stop (see ``StopCleanly``); the checkpoint of ``progress`` has been written."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(f"stopped at step {progress.step}")
        self.progress = progress


class SaveFailed(OSError):
    """A checkpoint could not be written; those before it are whole. The run ends: what it learned would not be kept."""


class Saver:
    """Writes checkpoints of one run. ``stop`` may be set at any time; it is obeyed after the step."""

    def __init__(self, house: House, output_dir: Path, config: dict[str, Any]) -> None:
        self.stop = False
        self._house, self._dir, self._config = house, output_dir, config

    def after_step(self, progress: Progress) -> None:
        """Save when due (after every step divisible by ``run.checkpoint_every``, the last and the end of value
        warm-up among them) or when asked to stop.

        Raises:
          StopRequested: after saving for a stop.
          SaveFailed: the disk is full or fails.
        """
        stop = self._house.ranks.sum([float(self.stop)])[0] > 0  # a signal may reach ranks at different steps
        if stop or progress.finished or progress.step % self._house.run.checkpoint_every == 0:
            self.save(progress)
        if stop and not progress.finished:
            raise StopRequested(progress)

    def save(self, progress: Progress) -> None:
        """Write the checkpoint of ``progress`` behind the records up to it. Raises SaveFailed on every rank."""
        error = self._house.ranks.on_main(self._save, progress)
        if error:
            raise SaveFailed(f"the checkpoint of step {progress.step} was not written: {error}")

    def _save(self, progress: Progress) -> str:
        """What went wrong, in words; "" where nothing did."""
        house, best = self._house, self._house.run.keep_best
        state = {room: getattr(house, room).state_dict() for room in ROOMS if room != "replay"}
        state["replay"] = remembered(house.replay, house.run.keep_checkpoints)
        if isinstance(house.task, Relative):
            state["task"] = house.task.state_dict()
        state["progress"] = dataclasses.asdict(progress)
        value = house.tracker.measured(best, progress.step) if best else None
        meta = {
            "config": self._config, "step": progress.step, "sampled_tokens": progress.sampled_tokens,
            "seconds": progress.seconds, "measured": {} if value is None else {best: value}, "ranks": house.ranks.size,
        }  # fmt: skip
        try:
            house.tracker.sync()  # a checkpoint on disk whose records are not would leave a hole in metrics.jsonl
            folder = checkpoint.save(self._dir / "checkpoints" / f"step_{progress.step:06d}", state, meta)
            checkpoint.prune(self._dir, house.run.keep_checkpoints, best)
            self._show(folder, state["replay"], meta)
        except OSError as error:
            return str(error)
        return ""

    def _show(self, folder: Path, replay: dict[str, Any], meta: dict[str, Any]) -> None:
        """Offer a new checkpoint, and what is remembered alone, to the trackers that keep such things."""
        tracker = self._house.tracker
        if tracker.wants("checkpoint"):
            tracker.artifact(folder, "checkpoint")
        if tracker.wants("store"):  # a checkpoint too, of one room: rrl-review opens it
            tracker.artifact(checkpoint.save(self._dir / "store", {"replay": replay}, meta), "store")


def remembered(replay: Replay, kept: int) -> dict[str, Any]:
    """A replay's state for a checkpoint, one of ``kept`` that stand side by side."""
    return replay.growing_state(kept=kept) if isinstance(replay, Growing) else replay.state_dict()


def restore(house: House, folder: Path) -> Progress:
    """Load every room's state; the run's progress. Raises ValueError where the checkpoint is of another model."""
    state, meta = checkpoint.load(folder)
    for room in (*ROOMS, *(["task"] if isinstance(house.task, Relative) else [])):
        made = str(meta.get("config", {}).get(room, "-"))
        with fitting(folder, f"this run's {room}", f"it was made with {room}={made}"):
            getattr(house, room).load_state_dict(state[room])
    with fitting(folder, "a run's progress", "use an earlier one beside it"):
        return progress_from(state["progress"])


@contextmanager
def fitting(folder: Path, what: str, advice: str) -> Iterator[None]:
    """Say which checkpoint it is that ``what`` cannot be restored from: whoever sealed it may have written anything."""
    try:
        yield
    except UNFIT as error:
        short = advice if len(advice) <= _MOST_SHOWN else f"{advice[:_MOST_SHOWN]}..."
        raise ValueError(f"checkpoint {str(folder)!r} does not fit {what} ({_first_line(error)}); {short}") from error


def _first_line(error: Exception) -> str:
    """A KeyError's text is the key alone, a MemoryError's nothing: the kind says what is meant."""
    first = "".join(str(error).strip().splitlines()[:1])
    return first if isinstance(error, (ValueError, RuntimeError)) and first else f"{type(error).__name__}: {first}"


def first_progress(run: Any) -> Progress:
    """Before anything: value warm-up stands at steps -W..-1."""
    return Progress(
        step=-run.warm_up.batches, sampled_tokens=0, token_budget=run.token_budget, history=(), first=None, peak=None
    )


def progress_from(state: dict[str, Any]) -> Progress:
    """The ``Progress`` that ``dataclasses.asdict`` took apart."""
    signals = {k: Signals(**_fitted(Signals, state[k])) if state[k] else None for k in ("first", "peak")}
    history = tuple(Signals(**_fitted(Signals, s)) for s in state["history"])
    plain = {k: v for k, v in state.items() if k not in (*signals, "history")}
    return Progress(**_fitted(Progress, plain) | signals | {"history": history})


def _fitted(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Values of a record's fields in the fields' types. Raises ValueError for one that is of another."""
    hints = get_type_hints(kind)
    if unknown := values.keys() - hints.keys():
        raise ValueError(f"progress.{min(unknown)} is not a field of {kind.__name__}")
    return {name: fit(value, hints[name], f"progress.{name}") for name, value in values.items()}


class StopCleanly:
    """Ctrl-C, SIGTERM, a terminal that hangs up and a scheduler's warning (SIGUSR1, SIGUSR2) ask the saver to stop
    after the step; a second one stops at once. What was ignored before (nohup) or has a handler of its own stays so."""

    def __init__(self, saver: Saver) -> None:
        self._saver, self._first = saver, 0.0

    def __enter__(self) -> None:
        free = [s for s in _WARNINGS if signal.getsignal(s) is signal.SIG_DFL]
        self._old = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM, *free)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: object) -> None:
        now = time.monotonic()
        again = number != signal.SIGINT and now - self._first < _SAME_REQUEST_S  # schedulers signal every process,
        if self._saver.stop and not again:                                       # and launchers pass theirs on, too
            raise KeyboardInterrupt
        if self._saver.stop:
            return
        self._saver.stop, self._first = True, now
        log.warning("stopping after this step (once more to stop at once)")
