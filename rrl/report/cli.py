"""``rrl-report <folder> ...``: rebuild the report of a run, or the comparison of a sweep, from files; on W&B too."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rrl import debug
from rrl.report.evaluation.load import is_evaluation
from rrl.report.load import Run, find_runs


def main(argv: Sequence[str] | None = None) -> int:
    """One run's folder: its report.html; one of rrl-eval: its samples.html; a sweep's, or several: a comparison."""
    arguments = _parser().parse_args(debug.taken(argv))
    folders: list[Path] = arguments.folders
    if arguments.wandb and Path(arguments.wandb).is_dir():  # rrl-report --wandb multirun/a
        folders, arguments.wandb = [Path(arguments.wandb), *folders], ""
    on_wandb = arguments.wandb is not None or arguments.wandb_spec is not None
    try:
        if not folders and not on_wandb:
            raise ValueError("no folder was given; expected a run's folder, or a sweep's, such as multirun/a")
        if folders:
            _report(folders, arguments.out)
        if arguments.publish is not None:
            from rrl.report.publish import publish

            sys.stdout.write("published: " + ", ".join(str(p) for p in publish(folders, arguments.publish)) + "\n")
        if on_wandb:
            _wandb(folders, arguments.wandb or "", arguments.wandb_spec)
    except (ValueError, OSError) as error:
        sys.stderr.write(debug.line("rrl-report", error) + "\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rrl-report",
        description="Rebuild report.html of one run, samples.html of one evaluation, or comparison.html of a "
        "sweep or of several runs, from files.",
        epilog="example: rrl-report outputs/2026-01-31/12-00-00    rrl-report multirun/a multirun/b --out compared",
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="folder", help="a run's folder, or a folder with runs below it"
    )
    parser.add_argument(
        "--out", type=Path, default=None, help="where a comparison goes (default: <first folder>/comparison)"
    )
    parser.add_argument(
        "--publish", type=Path, default=None, metavar="STEM", help="also write STEM.csv, STEM.md and STEM.png to commit"
    )
    parser.add_argument(
        "--wandb", nargs="?", const="", default=None, metavar="ENTITY/PROJECT",
        help="also make a W&B Report of the runs there (of the folders' arms, or of all; default place: WANDB_ENTITY "
        "and the project of the folders' config)",
    )  # fmt: skip
    parser.add_argument(
        "--wandb-spec", type=Path, default=None, metavar="FILE",
        help="write that report's specification as JSON instead of saving it: needs no account",
    )  # fmt: skip
    debug.describe(parser)
    return parser


def _wandb(folders: Sequence[Path], place: str, spec: Path | None) -> None:
    from rrl.report import wandb_report
    from rrl.report.gather import read_runs

    runs = read_runs(folders)[0] if folders else []
    if not place:
        place = f"{os.environ.get('WANDB_ENTITY', '')}/{_project(runs)}"
        if place.startswith("/"):
            raise ValueError(f"--wandb has no entity; expected --wandb ENTITY{place}, or the variable WANDB_ENTITY")
    report = wandb_report.build_report(place, list(dict.fromkeys(run.name for run in runs)))
    if spec is None:
        sys.stdout.write(f"W&B Report: {wandb_report.save(report)}\n")
        return
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(json.dumps(wandb_report.specification(report), indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"specification of the W&B Report: {spec}\n")


def _project(runs: Sequence[Run]) -> str:
    """The W&B project that the runs were tracked in, as their configs say; rrl where none says."""
    from rrl.report.settings import flattened

    named = [(flattened(run, keep=("tracker",)) or {}).get("tracker.wandb.project") for run in runs]
    return next((name for name in named if name), "rrl")


def _report(folders: Sequence[Path], out: Path | None) -> None:
    if len(folders) == 1 and is_evaluation(folders[0]):
        from rrl.report.evaluation.write import finish_evaluation

        finish_evaluation(folders[0], baseline=None)
        return
    runs = find_runs(folders)
    if len(runs) == 1 and out is None:
        from rrl.report.summary import finish_run

        finish_run(runs[0])
        return
    from rrl.report.compare import print_comparison, write_comparison

    comparison = write_comparison(folders, out or folders[0] / "comparison")
    print_comparison(comparison, next_command=shlex.join(["rrl-report", str(comparison.arms[-1].runs[0].folder)]))


if __name__ == "__main__":
    raise SystemExit(main())
