"""Faults of a run of two processes, one rank or the launcher struck; then it is resumed on two and compared.

    python -m tests.faults.two_ranks --out docs/results/faults_two_ranks.csv

As in the campaign of one process the run is tiny, each fault strikes at a line of code or at a time, and what counts is
that the resumed run is the unbroken one to the bit. Here nobody may hang either: the other rank has to end by itself,
with a code that says whose fault it was. A row a fault. Exits 1 where a row is not as it should be.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults import faults
from tests.faults.process import EVERY, KILLED, TINY, conclude, records, warm
from tests.faults.ranks import (
    HUNG,
    BothEnded,
    send,
    told_by,
    torchrun_struck,
    train_together,
)

LOST, STOPPED, FAILED = 69, 130, 1  # exit codes: of another rank, asked to stop, of its own
PATIENCE_S = 3


class Bug(TypeError):
    """What nobody expected."""


def bug() -> None:
    raise Bug("planted")


class TwoRanks:
    """An unbroken run on two ranks to compare with, and what is done to its copies."""

    def __init__(self, folder: Path, seed: int) -> None:
        warm()
        self.folder, self._random, self._count = folder, random.Random(seed), 0
        self.arguments = [*TINY, f"warm_start.cache_dir={folder / 'warm_start'}", "hydra.run.dir=run",
                          f"run.ranks_timeout_s={PATIENCE_S}"]  # fmt: skip
        train_together(self.new(), self.arguments)  # fills the warm start's cache
        whole = self.new()
        both = train_together(whole, self.arguments)
        assert both.codes == [0, 0], both.out
        self._seconds, self.expected, self.last = both.seconds, records(whole / "run"), end_of(whole / "run")
        self._lines: dict[str, int] = {}
        for where, fault in (
            *((f"step {r}", lambda out: faults.count_lines("step", out)) for r in (0, 1)),
            *((name, lambda out, name=name: faults.count_lines(name, out)) for name in ("save", "store", "log")),
        ):  # fmt: skip
            place = self.new()
            train_together(place, self.arguments, {int(where == "step 1"): fault(place / "count")})
            self._lines[where] = int((place / "count").read_text())

    # ------------------------------------------------------------------------------------- the faults

    def killed(self) -> Iterator[dict[str, Any]]:
        for rank in (0, 1, 0, 1, 1):
            yield self._at_a_line("SIGKILL of one rank", rank, faults.die, codes={rank: KILLED, 1 - rank: LOST})
        for where, name in (("save", "saving"), ("save", "saving"), ("store", "the store"), ("log", "logging")):
            line = self._line(where)
            struck = {0: faults.kill_at_line(where, line)}
            yield self._row("SIGKILL of one rank", f"rank 0, line {line} inside {name}", {0: KILLED, 1: LOST}, struck)
        for _ in range(2):
            seconds = self._random.uniform(0.3, 0.8) * self._seconds
            yield self._row("SIGKILL of both", f"after {seconds:.2f} s", {0: KILLED, 1: KILLED},
                            signals=[(seconds, 0, signal.SIGKILL), (seconds, 1, signal.SIGKILL)])  # fmt: skip

    def asked_to_stop(self) -> Iterator[dict[str, Any]]:
        both = {0: STOPPED, 1: STOPPED}
        for rank in (0, 1):
            yield self._at_a_line("SIGTERM to one rank", rank, send(signal.SIGTERM), codes=both)
        struck = {r: faults.at_line("step", self._line(f"step {r}"), send(signal.SIGTERM)) for r in (0, 1)}
        yield self._row("SIGTERM to both", "each at a line of its own", both, struck)
        twice = [send(signal.SIGINT), send(signal.SIGINT)]
        yield self._at_a_line("Ctrl-C twice at one rank", 1, lambda: [ask() for ask in twice] and None,
                              codes={0: LOST, 1: STOPPED})  # fmt: skip

    def hanging(self) -> Iterator[dict[str, Any]]:
        for rank in (0, 1):
            yield self._at_a_line("a rank hangs (SIGSTOP)", rank, send(signal.SIGSTOP),
                                  codes={rank: KILLED, 1 - rank: LOST}, says=f"waited {PATIENCE_S} s")  # fmt: skip
        seconds = 0.5 * self._seconds
        yield self._row("a rank stands still for a second", f"rank 1, after {seconds:.2f} s", {0: 0, 1: 0},
                        signals=[(seconds, 1, signal.SIGSTOP), (seconds + 1.0, 1, signal.SIGCONT)])  # fmt: skip

    def failing(self) -> Iterator[dict[str, Any]]:
        for rank in (0, 1):
            yield self._at_a_line("an error nobody expected", rank, bug, codes={rank: FAILED, 1 - rank: LOST},
                                  says=f"rank {rank}: Bug: planted")  # fmt: skip
        yield self._row("a loss that is NaN", "rank 1, update 5", {0: FAILED, 1: FAILED}, {1: _nan_loss(5)},
                        says="the policy loss is not finite")  # fmt: skip
        for number in (9, 17):
            yield self._row("a checkpoint fails", f"rank 0, fsync number {number}: EIO", {0: FAILED, 1: FAILED},
                            {0: faults.failing(os, "fsync", number, errno.EIO)}, says="was not written")  # fmt: skip

    def launched(self) -> Iterator[dict[str, Any]]:
        """What happens to ``torchrun`` itself; its ranks are processes of their own, so these take longest."""
        for number, code in ((signal.SIGKILL, KILLED), (signal.SIGTERM, FAILED), (signal.SIGINT, FAILED)):
            place = self.new()
            ended, left = torchrun_struck(place, self.arguments, number)
            yield self._compared(
                f"{signal.Signals(number).name} of torchrun", f"after step {left['told']}", place, [ended], [code],
                told=left["told"], hung=left["ranks"], resumed=None if left["code"] == 0 else self._resume(place),
            )  # fmt: skip

    # ------------------------------------------------------------------------------------- resuming and comparing

    def _at_a_line(
        self, fault: str, rank: int, strike: faults.Fault, *, codes: Mapping[int, int], says: str = ""
    ) -> dict[str, Any]:
        line = self._line(f"step {rank}")
        where = f"rank {rank}, line {line} inside a step"
        return self._row(fault, where, codes, {rank: faults.at_line("step", line, strike)}, says=says)

    def _row(
        self, fault: str, where: str, codes: Mapping[int, int], struck: Mapping[int, faults.Fault] | None = None,
        signals: Sequence[tuple[float, int, int]] = (), says: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        place = self.new()
        both = train_together(place, self.arguments, struck, signals_after=signals)
        told = told_by(place / "run")
        resumed = self._resume(place) if any(both.codes) else None
        row = self._compared(fault, where, place, both.codes, [codes[0], codes[1]], told=told, resumed=resumed,
                             hung=both.codes.count(HUNG), unsaid=int(says not in both.out))  # fmt: skip
        if not sound(row):
            print(both.out[-3000:], file=sys.stderr)
        return row

    def _resume(self, place: Path) -> BothEnded:
        resumed = train_together(place, ["resume=run"])
        return resumed if resumed.codes == [0, 0] else train_together(place, self.arguments)  # before its first save

    def _compared(
        self, fault: str, where: str, place: Path, codes: list[int], expected: list[int], *, told: int | None,
        resumed: BothEnded | None, hung: int, unsaid: int = 0,
    ) -> dict[str, Any]:  # fmt: skip
        due = (told - 1) // EVERY * EVERY if told is not None and told > 0 else None
        begun = [ended.restored for ended in resumed.ranks] if resumed else []
        now = records(place / "run")
        steps = [int(r["progress/step"]) for r in now]
        lost = 0 if due is None or not begun else max(0, *(due - (-99 if b is None else b) for b in begun))
        row = {
            "fault": fault, "where": where, "exits": " ".join(map(str, codes)),
            "exits_expected": " ".join(map(str, expected)), "told": "" if told is None else told,
            "resumed_at": begun[0] if begun and begun[0] is not None else "", "hung": hung, "unsaid": unsaid,
            "lost_steps": lost, "steps_told_twice": len(steps) - len(set(steps)),
            "differing": sum(a != b for a, b in zip(now, self.expected, strict=False))
            + abs(len(now) - len(self.expected)),
            "end_differs": int((resumed is not None and any(resumed.codes)) or end_of(place / "run") != self.last),
        }  # fmt: skip
        print(f"{fault:34s} {where:38s} exits {row['exits']:8s} resumed at {row['resumed_at']!s:3s} "
              f"differing {row['differing']}, lost {lost}", flush=True)  # fmt: skip
        if not sound(row):
            print(row, resumed.out[-3000:] if resumed else "", sep="\n", file=sys.stderr)
        return row

    def _line(self, where: str) -> int:
        return 1 + int(self._random.uniform(0.15, 0.9) * (self._lines[where] - 1))

    def new(self) -> Path:
        self._count += 1
        place = self.folder / f"fault_{self._count}"
        place.mkdir()
        return place


def end_of(run: Path) -> Any:
    """What a run ended as, to the bit: every tensor's and every state's bytes, less the seconds."""
    from rrl import checkpoint
    from tests.sameness import _bits

    state, meta = checkpoint.load(checkpoint.latest(run))
    state["progress"].pop("seconds")
    return meta["step"], meta["sampled_tokens"], meta["ranks"], _leaves(state, _bits)


def _leaves(node: Any, bits: Any) -> Any:
    if isinstance(node, dict):
        return {key: _leaves(value, bits) for key, value in node.items()}
    return [_leaves(value, bits) for value in node] if isinstance(node, list) else bits(node)


def _nan_loss(call: int) -> faults.Fault:
    """The ``call``-th loss that this rank computes is NaN."""

    def begin() -> None:
        from rrl.policy.causal_lm import CausalLM

        faults._at_call(CausalLM, "loss", call, lambda loss, *a, **k: _times_nan(loss(*a, **k)))

    return begin


def _times_nan(result: Any) -> Any:
    loss, seen = result
    return loss * float("nan"), seen


def sound(row: Mapping[str, Any]) -> bool:
    """Whether nobody hung, each ended as it should, nothing was lost and nothing differs."""
    wrong = [row[k] for k in ("hung", "unsaid", "lost_steps", "steps_told_twice", "differing", "end_differs")]
    return row["exits"] == row["exits_expected"] and not any(int(x) for x in wrong)


def run(seed: int, sample: bool) -> list[dict[str, Any]]:
    """All rows; of a ``sample`` the first one of each kind that needs no launcher."""
    with tempfile.TemporaryDirectory() as folder:
        made = TwoRanks(Path(folder), seed)
        kinds = [made.killed(), made.asked_to_stop(), made.hanging(), made.failing()]
        if sample:
            return [next(kind) for kind in kinds]
        return [{"number": i} | row for i, row in enumerate((r for k in (*kinds, made.launched()) for r in k), 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the lines and times at which it is struck")
    parser.add_argument("--sample", action="store_true", help="four faults only")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = run(args.seed, args.sample)
    sys.exit(conclude(args.out, rows, sound, ("hung", "lost_steps", "differing", "end_differs")))


if __name__ == "__main__":
    main()
