"""The folder of sweeps: which there are, what each asks, how many jobs it has; and folders of sweeps given wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml


class Sweep(NamedTuple):
    """One YAML. question: its comment's first sentence; folder: where its jobs go, as written."""

    name: str
    question: str
    num_jobs: int
    folder: str


def sweeps_in(folder: Path) -> list[Sweep]:
    """The sweeps of a folder by name; other YAMLs are passed over. Raises ValueError for a sweep that is none."""
    return [_read(path) for path in sorted(folder.glob("*.yaml")) if _is_sweep(path)]


def refuse_folder_of_sweeps(program: str, argv: Sequence[str]) -> None:
    """--config-dir=sweeps would put the sweeps where no group is, and one run of the default would train instead.

    Raises:
      SystemExit: the folder is one of sweeps; says what to type.
    """
    for number, word in enumerate(argv):
        flag, _, value = word.partition("=")
        if flag not in ("--config-dir", "-cd"):
            continue
        given = value or "".join(argv[number + 1 : number + 2])
        if given and any(_is_sweep(path) for path in Path(given).glob("*.yaml")):
            raise SystemExit(
                f"{program}: --config-dir={given} is a folder of sweeps, of which none would run; run a sweep as: "
                f"rrl-train --config-dir=. +sweeps=<name> from the folder above, or: rrl-sweep <name>"
            )


def count(params: dict[str, object]) -> int:
    """Jobs of the product of axes as a sweep writes them: "a,b" has 2, "range(3)" 3, "range(1, 3)" 2."""
    total = 1
    for values in params.values():
        text = str(values)
        if text.startswith("range("):
            total *= len(range(*map(int, text.removeprefix("range(").removesuffix(")").split(","))))
        else:
            total *= len(text.split(","))
    return total


def _is_sweep(path: Path) -> bool:
    return "mode: MULTIRUN" in path.read_text(encoding="utf-8", errors="replace")


def _read(path: Path) -> Sweep:
    try:
        text = path.read_text(encoding="utf-8")
        hydra = yaml.safe_load(text)["hydra"]
        num_jobs, folder = count(hydra["sweeper"]["params"]), str(hydra["sweep"]["dir"])
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is no sweep ({type(error).__name__}: {' '.join(str(error).split())}); "
                         "expected YAML with hydra.sweeper.params and hydra.sweep.dir") from error
    comment = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("# "))
    question = comment.partition("Question: ")[2].partition("?")[0] + "?"
    return Sweep(path.stem, question, num_jobs, folder)
