"""``rrl-report <folder> ...``: rebuild the report of a run, or the comparison of a sweep, from files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rrl.report.evaluation.load import is_evaluation
from rrl.report.load import find_runs


def main(argv: Sequence[str] | None = None) -> int:
    """One run's folder: its report.html; one of rrl-eval: its samples.html; a sweep's, or several: a comparison."""
    parser = argparse.ArgumentParser(
        prog="rrl-report",
        description="Rebuild report.html of one run, samples.html of one evaluation, or comparison.html of a "
        "sweep or of several runs, from files.",
        epilog="example: rrl-report outputs/2026-01-31/12-00-00    rrl-report multirun/a multirun/b --out compared",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="folder", help="a run's folder, or a folder with runs below it"
    )
    parser.add_argument(
        "--out", type=Path, default=None, help="where a comparison goes (default: <first folder>/comparison)"
    )
    parser.add_argument(
        "--publish", type=Path, default=None, metavar="STEM", help="also write STEM.csv, STEM.md and STEM.png to commit"
    )
    arguments = parser.parse_args(argv)
    try:
        _report(arguments.folders, arguments.out)
        if arguments.publish is not None:
            from rrl.report.publish import publish

            sys.stdout.write(
                "published: " + ", ".join(str(p) for p in publish(arguments.folders, arguments.publish)) + "\n"
            )
    except ValueError as error:
        sys.stderr.write(f"rrl-report: {error}\n")
        return 1
    return 0


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
    print_comparison(comparison, next_command=f"rrl-report {comparison.arms[-1].runs[0].folder}")


if __name__ == "__main__":
    raise SystemExit(main())
