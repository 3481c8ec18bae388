"""Exploration by phase of training: does it decline, and does replay keep it?

A run is cut into three thirds of the tokens that it sampled after value warm-up: early, middle, late.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from rrl.report.arms import STEPS, TOKENS, Arm
from rrl.report.contrast import Contrast, baseline_of, contrast, over_seeds, spell
from rrl.report.load import Run

PHASES = ("early", "middle", "late")


class Measure(NamedTuple):
    """One metric by phase. last: its value at the end of the phase (counts that only grow), else its mean there."""

    metric: str
    label: str
    digits: int = 2
    last: bool = False


MEASURES = (
    Measure("rollout/entropy_nats_fresh", "token entropy, fresh (nats)"),
    Measure("rollout/unique_frac", "distinct responses, fresh (share)"),
    Measure("explore/new_solves", "new solves (per 1,000 fresh rows)"),
    Measure("explore/hard_coverage_bare", "hard problems ever solved, bare prompt", 1, last=True),
    Measure("rollout/entropy_nats_replayed", "token entropy, replayed (nats)"),
)


class Phased(NamedTuple):
    """A measure of one arm. by_phase: None where nothing was recorded.  change: late minus early, same runs.
    kept: late phase minus the baseline's, same seeds; None for the baseline itself."""

    measure: Measure
    arm: Arm
    by_phase: tuple[Contrast | None, ...]
    change: Contrast | None
    kept: Contrast | None


def in_phase(run: Run, measure: Measure, phase: int) -> float | None:
    """The measure of one run in phase 0, 1 or 2; None where nothing was recorded there.

    Phase p holds records with t0 + p (t1 - t0) / 3 < tokens <= t0 + (p + 1) (t1 - t0) / 3, where t0 are the tokens
    of value warm-up and t1 those of the last record.
    """
    tokens = np.array([record[TOKENS] for record in run.records])
    steps = np.array([record[STEPS] for record in run.records])
    begin, end = float(tokens[steps <= 0].max(initial=0)), float(tokens.max())
    x, y = run.series(measure.metric, TOKENS)
    edges = begin + (end - begin) * np.array([phase, phase + 1]) / len(PHASES)
    inside = y[(x > edges[0]) & (x <= edges[1])]
    if not len(inside):
        return None
    return float(inside[-1] if measure.last else inside.mean())


def phased(arms: Sequence[Arm]) -> list[Phased]:
    """Every measure that some run recorded, arm by arm."""
    baseline, found = baseline_of(arms), []
    for measure in MEASURES:
        for arm in arms:
            by_phase = tuple(over_seeds(arm, partial(in_phase, measure=measure, phase=p)) for p in range(3))
            if any(by_phase):
                change = over_seeds(arm, partial(_change, measure=measure))
                kept = None
                if arm is not baseline:
                    kept = contrast(arm, baseline, partial(in_phase, measure=measure, phase=2))
                found.append(Phased(measure, arm, by_phase, change, kept))
    return found


def phase_rows(found: Sequence[Phased]) -> list[list[str]]:
    """Cells of the table: measure, arm, three phases, change, difference to the baseline."""
    rows = []
    for measure, arm, by_phase, change, kept in found:
        means = [spell(x, digits=measure.digits) for x in by_phase]
        signed = [spell(x, digits=measure.digits, sign=True) for x in (change, kept)]
        rows.append([measure.label, arm.label, *means, *signed])
    return rows


def answers(found: Sequence[Phased]) -> list[str]:
    """The two questions answered in words from the first measure: what fell, and what the others kept."""
    first = [p for p in found if p.measure is MEASURES[0] and p.change is not None]
    said = []
    for _, arm, by_phase, change, kept in first:
        assert change is not None
        verb = "falls" if change.mean < 0 else "rises"
        doubt = "" if change.sure else " (not told apart from no change)" if change.half is not None else " (one seed)"
        line = f"{arm.label}: token entropy of fresh rows {verb} from {spell(by_phase[0], digits=2)} to " \
               f"{spell(by_phase[2], digits=2)} nats{doubt}"  # fmt: skip
        if kept is not None:
            told = "more" if kept.mean > 0 else "less"
            unsure = "" if kept.sure else ", not told apart from 0" if kept.half is not None else ", one pair"
            size = spell(kept._replace(mean=abs(kept.mean)), digits=2)
            line += f"; late it has {size} {told} than the baseline{unsure}"
        said.append(line + ".")
    return said


def _change(run: Run, measure: Measure) -> float | None:
    early, late = in_phase(run, measure, 0), in_phase(run, measure, 2)
    return None if early is None or late is None else late - early
