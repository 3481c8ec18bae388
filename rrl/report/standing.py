"""How arms stand over all their tasks and seeds: IQM, performance profile, probability of improvement.

A task is what the config solves (its class, and overrides of the groups task, setting and model); arms that differ in
nothing else are one row. With one task it is the plain question which arm is better, told without assuming normality.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rrl.report.aggregate import Interval, bootstrap, iqm, mean, performance_profile, probability_of_improvement
from rrl.report.arms import Arm, overrides_of
from rrl.report.contrast import baseline_of
from rrl.report.load import Run

TAUS = np.linspace(0.0, 1.0, 101)
_TASK_GROUPS = ("task", "setting", "model")
_SEED = 0  # of the resampling: the same runs always give the same page


class Standing(NamedTuple):
    """One row. scores: by task, one a seed.  better: P(a run of it beats one of the baseline); None for the baseline
    and where tasks differ from the baseline's.  profile: at ``TAUS``."""

    label: str
    scores: dict[str, np.ndarray]
    iqm: Interval
    mean: Interval
    profile: Interval
    better: Interval | None


def standings(arms: Sequence[Arm], metric: str) -> list[Standing]:
    """One row a way of training, in the arms' order; arms without the metric are left out."""
    rows: dict[tuple[tuple[str, str], ...], dict[str, np.ndarray]] = {}
    for arm in arms:
        if values := arm.finals(metric):
            way, task = _way_and_task(arm.runs[0])
            rows.setdefault(way, {})[task] = np.array(values)
    if not rows:
        return []
    common = set.intersection(*(set(way) for way in rows)) if len(rows) > 1 else set()
    ground = rows.get(_way_and_task(baseline_of(arms).runs[0])[0])
    return [
        _standing(" ".join(_name(k, v) for k, v in way if (k, v) not in common) or way[0][1], scores, ground)
        for way, scores in rows.items()
    ]


def _standing(label: str, scores: dict[str, np.ndarray], ground: dict[str, np.ndarray] | None) -> Standing:
    generator, tasks = np.random.default_rng(_SEED), list(scores.values())
    better = None
    if ground is not None and ground is not scores and ground.keys() == scores.keys():
        better = bootstrap(probability_of_improvement, tasks, [ground[t] for t in scores], generator=generator)
    return Standing(
        label=label, scores=scores, iqm=bootstrap(iqm, tasks, generator=generator),
        mean=bootstrap(mean, tasks, generator=generator),
        profile=bootstrap(lambda t: performance_profile(t, TAUS), tasks, generator=generator), better=better,
    )  # fmt: skip


def _way_and_task(run: Run) -> tuple[tuple[tuple[str, str], ...], str]:
    found = re.search(r"^task:\n +_target_: \S*?(\w+)$", run.config, re.M)
    pairs = sorted(overrides_of(run).items())
    told = [f"{k}={v}" for k, v in pairs if _of_task(k)]
    way = (("experiment", run.name), *((k, v) for k, v in pairs if not _of_task(k)))
    return way, " ".join([found[1] if found else "task", *told])


def _of_task(key: str) -> bool:
    return re.split(r"[./]", key)[0] in _TASK_GROUPS


def _name(key: str, value: str) -> str:
    return value if key == "experiment" else f"{key}={value}"
