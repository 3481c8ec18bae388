"""``rrl-train`` in a process forked from one that has everything imported: a dozen steps take about a second."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.rows import write_csv
from tests.e2e.commands import exit_code_of

# Tiny, with everything that has a state: replay from the first step on, a critic, a checkpoint every third step.
TINY = (
    "run.token_budget=900", "run.starts_per_step=16", "run.warm_up.batches=2", "run.warm_up.starts=16",
    "run.checkpoint_every=3", "task.num_hard=8", "task.num_easy=8", "warm_start.steps=5", "warm_start.batch=16",
    "evaluate.every_steps=4", "evaluate.dense_until=0", "replay/schedule=constant", "tracker=[jsonl]",
)  # fmt: skip
EVERY, LAST = 3, 12  # steps between checkpoints; the step that its budget ends with


class Ended(NamedTuple):
    """code: of the exit, negative for a signal.  restored: step of the checkpoint that it went on from, if any."""

    code: int
    out: str
    restored: int | None
    seconds: float


def warm() -> None:
    """Train once in this process, so that its children import nothing (torch alone brings a thousand modules late)."""
    from rrl import loop
    from rrl.saver import Saver, first_progress
    from tests.small import small_house

    with tempfile.TemporaryDirectory() as folder:
        house = small_house(Path(folder) / "run", *TINY, "run.token_budget=200")
        progress = loop.warm_up(house, first_progress(house.run), lambda _: None)
        Saver(house, Path(folder) / "run", {}).save(loop.train(house, progress, lambda _: None))


def train(
    folder: Path, arguments: Sequence[str], fault: Callable[[], None] | None = None,
    signal_after: tuple[int, float] | None = None,
) -> Ended:
    """Run ``rrl-train`` with ``arguments`` in ``folder``.

    Args:
      fault: called in the child before it begins.
      signal_after: (signal, seconds) that this process sends it.
    """
    out, note, begin = folder / "out.txt", folder / "restored.txt", time.monotonic()
    note.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _become(folder, arguments, fault, out, note)
    if signal_after is not None:
        number, seconds = signal_after
        while time.monotonic() - begin < seconds and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        try:
            os.kill(child, number)
        except ProcessLookupError:
            return _ended(0, out, note, begin)  # it was done before
    return _ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), out, note, begin)


def _ended(code: int, out: Path, note: Path, begin: float) -> Ended:
    restored = int(note.read_text()) if note.is_file() else None
    return Ended(code, out.read_text(errors="replace"), restored, time.monotonic() - begin)


def _become(folder: Path, arguments: Sequence[str], fault: Callable[[], None] | None, out: Path, note: Path) -> None:
    for number in (1, 2):
        os.dup2(os.open(out, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND), number)
    os.chdir(folder)
    sys.argv = ["rrl-train", *arguments]

    def struck() -> None:
        _watch(note)
        if fault is not None:
            fault()
        from rrl.train import main

        main()

    code = exit_code_of(struck)
    sys.settrace(None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch(note: Path) -> None:
    """Write down which step a resumed run begins from; leave out the pictures, which take longer than the run."""
    from rrl import saver
    from rrl.report import summary

    restore = saver.restore

    def noted(house, folder):  # type: ignore[no-untyped-def]
        progress = restore(house, folder)
        note.write_text(str(progress.step))
        return progress

    saver.restore = noted
    summary.finish_run = lambda folder: None


def records(run: Path) -> list[dict[str, float]]:
    """Whole lines of a run's metrics.jsonl, without what a clock said."""
    path = run / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.is_file() else []
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]


KILLED = -signal.SIGKILL


def conclude(
    out: Path, rows: Sequence[dict[str, Any]], sound: Callable[[dict[str, Any]], bool], sums: Sequence[str]
) -> int:
    """Write a campaign's rows and say what came of them. Returns the exit code: 1 where a row is not sound."""
    write_csv(out, rows)
    bad = [row.get("number", row) for row in rows if not sound(row)]
    told = ", ".join(f"{name} {sum(row[name] for row in rows)}" for name in sums)
    print(f"{len(rows)} faults; {told}; not sound: {bad or 'none'}")
    return 1 if bad else 0
