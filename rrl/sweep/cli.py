"""``rrl-sweep``: list the questions in sweeps/, or run one: short for rrl-train --config-dir=. +sweeps=<name>."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rrl import debug
from rrl.sweep import record
from rrl.sweep.folder import Sweep, sweeps_in

_EPILOG = """\
example:
  rrl-sweep                                  what there is, and how far it is
  rrl-sweep threshold -j 2                   two jobs at a time; type it again to go on where it stopped
  rrl-sweep threshold seed=0 run.token_budget=50000 hydra.sweep.dir=outputs/sweeps/threshold_short
  rrl-sweep threshold hydra/launcher=slurm   on a cluster: sweeps/README.md"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code: that of rrl-train; 1, with one line, where there is no such sweep."""
    parser = argparse.ArgumentParser(
        prog="rrl-sweep", description="List the sweeps below the current folder, or run one of them.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("name", nargs="?", help="a YAML in sweeps/, without its ending")
    parser.add_argument("-j", "--jobs", type=int, default=None, metavar="N", help="jobs at a time on this machine (1)")
    parser.add_argument("--sweeps", type=Path, default=Path("sweeps"), help="the folder of sweeps (default: sweeps)")
    debug.describe(parser)
    arguments, overrides = parser.parse_known_args(debug.taken(argv))
    try:
        there = sweeps_in(arguments.sweeps)
    except ValueError as error:
        return _refuse(error)
    if not there:
        return _refuse(f"no sweeps in {arguments.sweeps}/; run it where that folder is, or name it with --sweeps")
    if arguments.name is None:
        Console().print(listing(there))
        return 0
    if arguments.name not in (names := [sweep.name for sweep in there]):
        return _refuse(f"no sweep {arguments.name!r} in {arguments.sweeps}/; expected one of: {', '.join(names)}")
    try:
        command = command_of(arguments.sweeps, arguments.name, arguments.jobs, overrides)
    except ValueError as error:
        return _refuse(error)
    sys.stderr.write(" ".join(command) + "\n")
    sys.argv = command
    from rrl.train import main as train

    train()
    return 0


def command_of(sweeps: Path, name: str, num_jobs: int | None, overrides: Sequence[str]) -> list[str]:
    """What rrl-train is given. Without a launcher of the user's own, jobs have processes of their own.

    Raises:
      ValueError: the folder is not named sweeps, which is the group's name; -j for a launcher that has no such number.
    """
    if sweeps.resolve().name != "sweeps":
        raise ValueError(f"--sweeps is {str(sweeps)!r}; expected a folder named sweeps: +sweeps=<name> asks for it")
    other = [o for o in overrides if o.startswith("hydra/launcher=") and o != "hydra/launcher=proc"]
    if num_jobs is not None and other:
        raise ValueError(f"-j {num_jobs} is for processes of this machine; with {other[0]} see conf/hydra/launcher/")
    launcher = [] if any(o.startswith("hydra/launcher=") for o in overrides) else ["hydra/launcher=proc"]
    jobs = [] if num_jobs is None else [f"hydra.launcher.n_jobs={num_jobs}"]
    above = os.path.relpath(sweeps.resolve().parent)
    return ["rrl-train", f"--config-dir={above}", f"+sweeps={name}", *launcher, *jobs, *overrides]


def _refuse(why: str | ValueError) -> int:
    sys.stderr.write((f"rrl-sweep: {why}" if isinstance(why, str) else debug.line("rrl-sweep", why)) + "\n")
    return 1


def listing(sweeps: Sequence[Sweep]) -> Table:
    """A row a sweep: name, question, jobs, and what the records in its folder say."""
    table = Table(box=box.ROUNDED, title="rrl-sweep <name> runs one", title_justify="left")
    for heading in ("sweep", "question", "jobs", "so far"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "jobs" else "left")
    for sweep in sweeps:
        jobs = [path.parent for path in sorted(Path(sweep.folder).glob("*/job.jsonl"))]
        counts = Counter(record.status_of(job) for job in jobs)
        so_far = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
        table.add_row(Text(sweep.name), Text(sweep.question), str(sweep.num_jobs), so_far or "-")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
