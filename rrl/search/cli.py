"""``rrl-search``: search hyper-parameters with Optuna, or write the same search for W&B."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from rrl import debug
from rrl.cli import explain
from rrl.search.results import print_results, write_results
from rrl.search.space import Space, read_space, wandb_sweep
from rrl.sweep.pool import Processes
from rrl.sweep.run import drive
from rrl.sweep.view import View, terminal

_REFRESH_S = 0.5  # between redraws in a terminal; more often is not read
_EPILOG = """\
example:
  rrl-search                               the searches in sweeps/search/
  rrl-search rrl -n 16 -j 2                16 trials in all, two at a time; type it again to go on where it stopped
  rrl-search rrl setting=arith_chain_status --folder outputs/search/status
  rrl-search rrl --wandb > sweeps/wandb/rrl.yaml && wandb sweep sweeps/wandb/rrl.yaml"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 1, with one line, where the search or an override is wrong; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="rrl-search", description="Search hyper-parameters of rrl-train with Optuna.", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("name", nargs="?", help="a YAML in sweeps/search/, without its ending")
    parser.add_argument("-n", "--trials", type=int, default=None, metavar="N", help="trials in all (the YAML's number)")
    parser.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="trials at a time (default: 1)")
    parser.add_argument("--gpus", default="", metavar="0,1", help="one trial at a time on each of these devices")
    parser.add_argument("--folder", type=Path, default=None, help="where the study goes (default: the YAML's)")
    parser.add_argument("--searches", type=Path, default=Path("sweeps/search"), help="default: sweeps/search")
    parser.add_argument("--wandb", action="store_true", help="print the search as a W&B sweep and end")
    debug.describe(parser)
    arguments, overrides = parser.parse_known_args(debug.taken(argv))
    there = {path.stem: path for path in sorted(arguments.searches.glob("*.yaml"))}
    if arguments.name is None and there:
        sys.stdout.write("".join(f"{name}\n" for name in there))
        return 0
    given = list(overrides)
    try:
        if arguments.name not in there:
            names = ", ".join(there) or "none: run it where that folder is"
            raise ValueError(f"no search {arguments.name!r} in {arguments.searches}/; expected one of: {names}")
        space = read_space(there[arguments.name])
        given = [*space.overrides, *given]
        if arguments.wandb:
            sys.stdout.write(wandb_text(space))
            return 0
        pool = Processes(n_jobs=arguments.jobs, gpus=[device for device in arguments.gpus.split(",") if device])
        _search(space, arguments.folder or Path(space.folder), overrides, arguments.trials or space.num_trials, pool)
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        sys.stderr.write(debug.line("rrl-search", error, explain(error, "train", given)) + "\n")
        return 1
    return 0


def wandb_text(space: Space) -> str:
    """The W&B file of a search, as ``rrl-search <name> --wandb`` prints it."""
    head = f"# Made by: rrl-search {space.name} --wandb. Then: wandb sweep <this file>, and what it prints.\n"
    return head + str(yaml.safe_dump(wandb_sweep(space), sort_keys=False, width=120))


def _search(space: Space, folder: Path, extra: Sequence[str], num_trials: int, pool: Processes) -> None:
    from rrl.search.trials import Trials, open_study

    study = open_study(space, folder, extra)
    trials, console = Trials(space, study, folder, extra, num_trials), terminal()
    if not trials.num_left():
        console.print(f"{folder}: all {num_trials} trials are done; -n <more> goes on", highlight=False)
    view = View(
        title=str(folder), num_jobs=trials.num_left(), slots=pool.size, refresh_s=_REFRESH_S, console=console
    )
    try:
        if trials.num_left():
            drive(trials, pool, view)
    finally:
        print_results(study, space, extra, console)
        write_results(study, folder / "trials.csv")


if __name__ == "__main__":
    raise SystemExit(main())
