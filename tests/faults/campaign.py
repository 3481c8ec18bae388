"""Faults by the dozen against a tiny run; after each it is resumed and compared with the one that nothing happened to.

    python -m tests.faults.campaign --kills 60 --out docs/results/faults.csv

Kills (SIGKILL) at random lines inside saving, inside the store, inside logging, inside resuming, and at random times;
torn writes; disks that fill up (a small tmpfs where one can be mounted, else a limit on the file system calls); writes
that fail; SIGTERM; every file of a checkpoint damaged in four ways; all that again where the store counts as large
(``large_store.py``). A row a fault. Exits 1 where a row is not as new.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.faults import faults, large_store
from tests.faults.process import EVERY, KILLED, LAST, TINY, Ended, conclude, records, train, warm

FILES = ("state.safetensors", "state.json", "meta.json", "manifest.json")
DISKS = (300, 700, 1100, 1500)  # KiB
KILLS = ("save", "store", "log", "resume", "anywhere")


class Campaign:
    """An unbroken run to compare with, and what is done to its copies."""

    def __init__(self, folder: Path, seed: int) -> None:
        warm()
        self.folder, self._random, self._count = folder, random.Random(seed), 0
        self._arguments = [*TINY, f"warm_start.cache_dir={folder / 'warm_start'}", "hydra.run.dir=run"]
        self.whole = folder / "whole"
        self.whole.mkdir()
        train(self.whole, self._arguments)  # fills the warm start's cache
        shutil.rmtree(self.whole / "run")
        ended = train(self.whole, self._arguments)
        assert ended.code == 0, ended.out
        self._seconds = ended.seconds
        self.expected, self.last = records(self.whole / "run"), self._end(self.whole)
        self._lines: dict[str, int] = {}
        for where in ("save", "store", "log", "resume"):  # the last begins from a run that was killed while logging
            self._lines[where] = self._lines_of(where)

    # ------------------------------------------------------------------------------------- the faults

    def kills(self, num: int) -> Iterator[dict[str, Any]]:
        for number in range(num):
            where = KILLS[number % len(KILLS)]
            place = self._new()
            if where == "anywhere":
                seconds = self._random.uniform(0.3, 1.0) * self._seconds
                ended = train(place, self._arguments, signal_after=(signal.SIGKILL, seconds))
                yield self._aftermath("SIGKILL", f"after {seconds:.2f} s", place, ended, KILLED)
            elif where == "resume":  # killed once, and again while it resumes
                train(place, self._arguments, faults.kill_at_line("log", self._lines["log"] // 2))
                line = self._line(where)
                ended = train(place, ["resume=run"], faults.kill_at_line(where, line))
                yield self._aftermath("SIGKILL twice", f"line {line} of resuming", place, ended, KILLED)
            else:
                line = self._line(where)
                ended = train(place, self._arguments, faults.kill_at_line(where, line))
                name = {"save": "saving", "store": "the store", "log": "logging"}[where]
                yield self._aftermath("SIGKILL", f"line {line} inside {name}", place, ended, KILLED)

    def torn_writes(self) -> Iterator[dict[str, Any]]:
        for number in (2, 5, 9, 12):
            place = self._new()
            ended = train(place, self._arguments, faults.torn_log_line(number))
            yield self._aftermath("torn write", f"line {number} of metrics.jsonl", place, ended, KILLED)
        for number in (2, 4):
            place = self._new()
            ended = train(place, self._arguments, faults.torn_weights(number))
            yield self._aftermath("torn write", f"tensors of checkpoint {number}", place, ended, KILLED)
        for number in (4, 5, 6, 7):
            place = self._new()
            ended = train(place, self._arguments, faults.torn_text(number))
            yield self._aftermath("torn write", f"text {number} of the checkpoints", place, ended, KILLED)

    def failing_writes(self) -> Iterator[dict[str, Any]]:
        for call, owner, numbers in (("fsync", os, (1, 9, 17)), ("rename", Path, (2, 3)), ("mkdir", Path, (6,))):
            for number in numbers:
                place = self._new()
                ended = train(place, self._arguments, faults.failing(owner, call, number))
                yield self._aftermath("failing write", f"{call} number {number}: EIO", place, ended, 1)
        for number in (3, 8):  # a line that waits for the next one
            place = self._new()
            ended = train(place, self._arguments, faults.failing(os, "write", number, errno.ENOSPC))
            yield self._aftermath("failing write", f"line {number} of metrics.jsonl: ENOSPC", place, ended, 0)

    def full_disks(self, sizes: Sequence[int], fault: faults.Fault | None = None) -> Iterator[dict[str, Any]]:
        for kib in sizes:
            place = self._new()
            disk = place / "run"
            disk.mkdir()
            if not _mounted(disk, kib):
                print("no tmpfs can be mounted here: disks are not filled", file=sys.stderr)
                return
            try:
                ended = train(place, self._arguments, fault)
                subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
                what = f"tmpfs of {kib} KiB" + ", large store" * (fault is not None)
                yield self._aftermath("full disk", what, place, ended, 1, later=fault)
            finally:
                subprocess.run(["umount", str(disk)], check=True)

    def terminations(self, num: int) -> Iterator[dict[str, Any]]:
        for _ in range(num):
            place = self._new()
            line = self._line("store", 0.05)
            ask = faults.at_line("store", line, lambda: os.kill(os.getpid(), signal.SIGTERM))
            ended = train(place, self._arguments, ask)
            yield self._aftermath("SIGTERM", f"line {line} inside the store", place, ended, 130)

    def damages(self) -> Iterator[dict[str, Any]]:
        begun = self._new()
        ended = train(begun, self._arguments, faults.kill_at_line("log", self._line("log", 0.8, 0.9)))
        assert ended.code == KILLED, ended.out
        for file in FILES:
            for how, damage in faults.DAMAGE.items():
                place = self._new()
                shutil.copytree(begun / "run", place / "run", symlinks=True)
                *_, before, newest = _steps(place / "run")
                damage(place / "run" / "checkpoints" / f"step_{newest:06d}" / file)
                row = self._aftermath("damaged file", f"{file} {how}", place, ended, KILLED, due=before)
                row["differing"] += not (file in row.pop("said") and row["resumed_at"] == before)
                yield row

    # ------------------------------------------------------------------------------------- resuming and comparing

    def _aftermath(
        self, fault: str, where: str, place: Path, ended: Ended, code: int, due: int | None = None,
        later: faults.Fault | None = None,
    ) -> dict[str, Any]:
        """Resume until it ends, and compare. ``due``: the checkpoint that must be there; else the one before the last
        step that was told, since that one was saved before the next was told. ``later``: called before it resumes."""
        told = [int(r["progress/step"]) for r in records(place / "run")]
        if due is None and told and told[-1] > 0:
            due = (told[-1] - 1) // EVERY * EVERY
        resumed = ended
        if ended.code:
            resumed = train(place, ["resume=run"], later)
            if resumed.code and due is None:  # killed before its first checkpoint
                resumed = train(place, self._arguments, later)
        begun, now = resumed.restored, records(place / "run")
        steps = [int(r["progress/step"]) for r in now]
        lost = 0 if due is None or resumed is ended else due - (-99 if begun is None else begun)
        differing = sum(a != b for a, b in zip(now, self.expected, strict=False)) + abs(len(now) - len(self.expected))
        row = {
            "fault": fault, "where": where, "exit": ended.code, "exit_expected": code,
            "told": told[-1] if told else "", "resumed_at": "" if begun is None else begun,
            "lost_steps": max(0, lost), "steps_told_twice": len(steps) - len(set(steps)), "differing": differing,
            "end_differs": int(resumed.code != 0 or self._end(place) != self.last),
        }  # fmt: skip
        if "Traceback" in ended.out + resumed.out:
            row["end_differs"] = 1
        if not sound(row):
            print(row, ended.out[-2000:], resumed.out[-2000:], sep="\n", file=sys.stderr)
        print(f"{self._count:3d} {fault:15s} {where:42s} exit {ended.code:4d}, resumed at {row['resumed_at']!s:3s} "
              f"differing {differing}, lost {row['lost_steps']}", flush=True)  # fmt: skip
        if fault.startswith("damaged file"):
            row["said"] = resumed.out
        return row

    def _end(self, place: Path) -> Any:
        """What a run ended as, to the bit: every tensor's and every state's bytes, less the seconds."""
        from rrl import checkpoint
        from tests.sameness import _bits

        state, meta = checkpoint.load(checkpoint.latest(place / "run"))
        state["progress"].pop("seconds")
        return meta["step"], meta["sampled_tokens"], _leaves(state, _bits)

    def _lines_of(self, where: str) -> int:
        place = self._new()
        if where == "resume":
            train(place, self._arguments, faults.kill_at_line("log", self._lines["log"] // 2))
        train(place, ["resume=run"] if where == "resume" else self._arguments,
              faults.count_lines(where, place / "count"))  # fmt: skip
        return int((place / "count").read_text())

    def _line(self, where: str, low: float = 0.0, high: float = 1.0) -> int:
        return 1 + int(self._random.uniform(low, high) * (self._lines[where] - 1))

    def _new(self) -> Path:
        self._count += 1
        place = self.folder / f"fault_{self._count}"
        place.mkdir()
        return place


def _leaves(node: Any, bits: Any) -> Any:
    if isinstance(node, dict):
        return {key: _leaves(value, bits) for key, value in node.items()}
    return [_leaves(value, bits) for value in node] if isinstance(node, list) else bits(node)


def _steps(run: Path) -> list[int]:
    return sorted(int(p.name[5:]) for p in (run / "checkpoints").glob("step_*") if not p.suffix)


def _mounted(disk: Path, kib: int) -> bool:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk)]
    return shutil.which("mount") is not None and subprocess.run(mount, capture_output=True).returncode == 0


def run(kills: int, terminations: int, seed: int) -> list[dict[str, Any]]:
    """All rows of a campaign."""
    with tempfile.TemporaryDirectory() as folder:
        made = Campaign(Path(folder), seed)
        rows: list[dict[str, Any]] = []
        for part in (made.kills(kills), made.torn_writes(), made.failing_writes(), made.full_disks(DISKS),
                     made.terminations(terminations), made.damages(), large_store.all_of(made, kills)):  # fmt: skip
            for row in part:
                rows.append({"number": len(rows) + 1} | row)
                shutil.rmtree(made.folder / f"fault_{made._count}", ignore_errors=True)
        return rows


def sound(row: dict[str, Any]) -> bool:
    """Whether nothing was lost, nothing differs, and the process ended as it should."""
    late = row["where"].startswith("after") and row["exit"] == 0  # killed by the clock, when it was done
    late |= row["fault"] == "SIGTERM" and row["told"] == LAST and row["exit"] in (0, -signal.SIGTERM)  # at the end
    wrong = [row[k] for k in ("lost_steps", "steps_told_twice", "differing", "end_differs")]
    return (late or row["exit"] == row["exit_expected"]) and not any(wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--terminations", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0, help="of the lines and times at which it is killed")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = run(args.kills, args.terminations, args.seed)
    print(dict(Counter(row["fault"] for row in rows)))
    sys.exit(conclude(args.out, rows, sound, ("lost_steps", "differing", "end_differs")))


if __name__ == "__main__":
    main()
