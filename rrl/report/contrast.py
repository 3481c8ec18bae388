"""Which arm the others are held against, and differences between arms on the seeds that both have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rrl.report.arms import Arm
from rrl.report.load import Run
from rrl.report.stats import t_interval


class Contrast(NamedTuple):
    """mean: of ours minus theirs over ``pairs`` seeds.  half: of its 95 % t-interval, None for one pair."""

    mean: float
    half: float | None
    pairs: int

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.half is not None and abs(self.mean) > self.half


def baseline_of(arms: Sequence[Arm]) -> Arm:
    """The first arm in which nothing was replayed, else the first arm."""
    return next((arm for arm in arms if not any(replays(run) for run in arm.runs)), arms[0])


def replays(run: Run) -> bool:
    """Whether any row of the run began from a stored prefix."""
    return any(record.get("replay/fraction", 0.0) > 0.0 for record in run.records)


def contrast(ours: Arm, theirs: Arm, number: Callable[[Run], float | None]) -> Contrast | None:
    """Difference of a number of each run, paired by seed; None where no seed has it in both arms."""
    mine, other = ({run.seed: x for run in arm.runs if (x := number(run)) is not None} for arm in (ours, theirs))
    differences = [mine[seed] - other[seed] for seed in sorted(mine.keys() & other.keys())]
    return Contrast(*t_interval(differences), len(differences)) if differences else None


def over_seeds(arm: Arm, number: Callable[[Run], float | None]) -> Contrast | None:
    """The number itself: its mean over the arm's runs that have it, as a contrast with nothing."""
    values = [x for run in arm.runs if (x := number(run)) is not None]
    return Contrast(*t_interval(values), len(values)) if values else None


def spell(found: Contrast | None, *, digits: int = 3, sign: bool = False) -> str:
    """"0.123 +- 0.045" with a real plus-minus; "-" for nothing."""
    if found is None:
        return "-"
    text = f"{found.mean:+,.{digits}f}" if sign else f"{found.mean:,.{digits}f}"
    return text if found.half is None else f"{text} \u00b1 {found.half:,.{digits}f}"
