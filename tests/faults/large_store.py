"""Faults of a run whose store counts as large: it stands in files that checkpoints share. The same run otherwise, so it
is compared with the one whose store is small.
"""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rrl.replay.segments import KINDS
from tests.faults import faults
from tests.faults.process import KILLED, train

if TYPE_CHECKING:
    from tests.faults.campaign import Campaign

LARGE = faults.large(faults.none)
# Before what a save may be killed: (what, module, function).
CALLS = (("a link", "os", "link"), ("a file of the store", "rrl.replay.segments", "write_arrays"),
         ("the manifest", "rrl.manifest", "seal"), ("a sync", "rrl.durable", "sync"))  # fmt: skip


def all_of(campaign: Campaign, kills: int) -> Iterator[dict[str, Any]]:
    """Rows of them all: a third of ``kills`` at random lines of the segments, as many at calls, and the others."""
    yield from _killed_at_lines(campaign, kills // 3)
    yield from _killed_at_calls(campaign, kills // 3)
    yield from _torn(campaign)
    yield from _failing(campaign)
    yield from campaign.full_disks((600, 1200), LARGE)
    yield from _damaged(campaign)


def _killed_at_lines(campaign: Campaign, num: int) -> Iterator[dict[str, Any]]:
    count = _counted(campaign, lambda out: faults.count_lines("segments", out))
    for _ in range(num):
        line = 1 + int(campaign._random.uniform(0.0, 1.0) * (count - 1))
        yield _struck(campaign, "SIGKILL", f"line {line} inside the segments", faults.kill_at_line("segments", line))


def _killed_at_calls(campaign: Campaign, num: int) -> Iterator[dict[str, Any]]:
    for turn in range(num):
        what, module, name = CALLS[turn % len(CALLS)]
        owner = importlib.import_module(module)
        count = _counted(campaign, lambda out, o=owner, n=name: faults.count_calls(o, n, out))
        number = campaign._random.randint(1, count)
        yield _struck(campaign, "SIGKILL", f"before {what}, number {number}", faults.kill_at_call(owner, name, number))


def _torn(campaign: Campaign) -> Iterator[dict[str, Any]]:
    for number in (1, 6, 10, 15):
        yield _struck(campaign, "torn write", f"file {number} of a large store", faults.torn_segment(number))


def _failing(campaign: Campaign) -> Iterator[dict[str, Any]]:
    for number in (1, 5):
        yield _struck(campaign, "failing write", f"link number {number}: EIO", faults.failing(os, "link", number), 1)
        yield _struck(campaign, "failing write", f"link number {number}: EXDEV, copied",
                      faults.failing(os, "link", number, errno.EXDEV), 0)  # fmt: skip
    for number in (12, 60):
        fault = faults.failing(os, "fsync", number, errno.ENOSPC)
        yield _struck(campaign, "failing write", f"fsync number {number} of a large store: ENOSPC", fault, 1)


def _damaged(campaign: Campaign) -> Iterator[dict[str, Any]]:
    """Files of every kind, those that were linked among them: the checkpoint before shares none of them."""
    begun = campaign._new()
    fault = faults.kill_at_line("log", campaign._line("log", 0.8, 0.9))
    ended = train(begun, [*campaign._arguments, "run.keep_checkpoints=4"], faults.large(fault))
    assert ended.code == KILLED, ended.out
    folders = sorted(p for p in (begun / "run" / "checkpoints").glob("step_*") if not p.suffix)
    before, newest = (int(path.name[5:]) for path in folders[-2:])
    files = sorted(folders[-1].glob("store_*"))
    linked = [path for path in files if path.stat().st_nlink > 1]
    assert linked, files
    for kind in KINDS:
        mine = [path for path in files if path.stem.endswith(kind)]
        for file in dict.fromkeys([mine[-1], *(path for path in mine[:1] if path in linked)]):
            for how, damage in faults.DAMAGE.items():
                place = campaign._new()
                subprocess.run(["cp", "-a", str(begun / "run"), str(place / "run")], check=True)  # links stay links
                damage(place / "run" / "checkpoints" / f"step_{newest:06d}" / file.name)
                what = f"{file.stem.split('_', 2)[2]} {how}" + ", linked" * (file in linked)
                row = campaign._aftermath("damaged file", what, place, ended, KILLED, due=before, later=LARGE)
                row["differing"] += not (file.name in row.pop("said") and row["resumed_at"] == before)
                yield row


def _struck(campaign: Campaign, fault: str, where: str, strike: faults.Fault, code: int = KILLED) -> dict[str, Any]:
    place = campaign._new()
    ended = train(place, campaign._arguments, faults.large(strike))
    return campaign._aftermath(fault, where, place, ended, code, later=LARGE)


def _counted(campaign: Campaign, fault: Any) -> int:
    """How often there is something to strike at in an unbroken run."""
    place = campaign._new()
    ended = train(place, campaign._arguments, faults.large(fault(place / "count")))
    assert ended.code == 0, ended.out
    return int((place / "count").read_text())
