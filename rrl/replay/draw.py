"""Which states to restart from: a race over problems, then a mixture over one problem's states. Pure functions.

Which of a problem's states is picked depends on (store, seed, step, problem) alone, so a host that chose the
problem itself gets the same state as our own draw, on every process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rrl import rng
from rrl.protocols import ProblemWeight, Selection
from rrl.records import Candidates, Plan, Progress
from rrl.replay.posterior import posterior_mean
from rrl.replay.race import arrival_times, first_arrivals
from rrl.replay.store import Store

SLACK = 1e-9  # .3 x 10 is 3.0000000000000004 in binary; a share is meant in decimals


Eligible = Callable[[np.ndarray], np.ndarray]
"""rows -> which of them may be drawn."""


class Mixture(NamedTuple):
    """Shares of picks that ignore the selection: uniform, and in proportion to steps since the last replay."""

    eps_uniform: float
    eps_stale: float


def eligible_places(store: Store, plan: Plan, step: int, max_score_age: int) -> np.ndarray:
    """[places] states that may be drawn: open, not deeper than the plan allows, with a fresh enough score."""
    return eligible_rows(store, plan, step, max_score_age, slice(None))


def eligible_rows(store: Store, plan: Plan, step: int, max_score_age: int, rows: np.ndarray | slice) -> np.ndarray:
    """Which of these places hold a state that may be drawn."""
    columns = store.shelf.columns
    fresh = step - columns["score_step"][rows] <= max_score_age
    shallow = columns["depth_frac"][rows] <= plan.depth_max
    eligible: np.ndarray = store.open_rows(rows, step) & fresh & shallow
    return eligible


def some_eligible(store: Store, plan: Plan, step: int, max_score_age: int, last_rescore: int | None) -> np.ndarray:
    """``eligible_places``. Raises ValueError where all scores are old because nobody calls ``rescore``."""
    eligible = eligible_places(store, plan, step, max_score_age)
    if not eligible.any():
        newest = store.newest_score(step)
        newest = newest if last_rescore is None else max(newest, last_rescore)
        if step - newest > max_score_age:
            raise ValueError(f"the newest score of a stored state is {step - newest} steps old; expected "
                             f"at most max_score_age = {max_score_age}: call replay.rescore before draw")
    return eligible


def problem_weights(
    store: Store, eligible: np.ndarray, weight: ProblemWeight
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(problem numbers with eligible states, how many each has, their weights)."""
    counts = np.bincount(store.shelf.columns["problem"][eligible], minlength=1)
    numbers = np.flatnonzero(counts)
    p = store.problems.columns
    return numbers, counts[numbers], weight.weight(p["root_success"][numbers], p["replays"][numbers])


def pick_problems(
    store: Store, numbers: np.ndarray, counts: np.ndarray, weights: np.ndarray, num: int, *, seed: int, step: int,
    max_per_problem: int,
) -> list[tuple[int, int]]:
    """(problem number, states to pick) of ``num`` draws in proportion to ``weights``, in order of first arrival.

    Sampling with replacement until a problem has given ``max_per_problem`` states or all it has: each problem
    runs that many laps of one exponential race, and lap j of a problem has its own uniform f(seed, step, problem, j).
    """
    hashes = store.problems.columns["hash"][numbers]
    uniform = np.stack([rng.uniforms(seed, "replay.problem", step, hashes, lap) for lap in range(max_per_problem)], 1)
    times = arrival_times(uniform, weights)
    times[np.arange(max_per_problem) >= counts[:, None]] = np.inf
    picks: dict[int, int] = {}
    for position in (first_arrivals(times, num) // max_per_problem).tolist():
        number = int(numbers[position])
        picks[number] = picks.get(number, 0) + 1
    return list(picks.items())


def state_rows(store: Store, numbers: list[int], eligible: Eligible, eligible_frac: float) -> list[np.ndarray]:
    """Each problem's eligible entries, oldest first; of these the ``eligible_frac`` with the best posterior."""
    c, groups = store.shelf.columns, []
    for number in numbers:
        rows = np.array(store.shelf.rows_of(number), dtype=np.int64)
        rows = rows[eligible(rows)]
        num = num_eligible(len(rows), eligible_frac)
        if num < len(rows):
            mean = posterior_mean(c["conversions"][rows], c["tries"][rows], c["value"][rows], store.kappa)
            rows = rows[np.sort(np.argsort(-mean, kind="stable")[:num])]
        groups.append(rows)
    return groups


def num_eligible(num: int, eligible_frac: float) -> int:
    """How many of ``num`` states a share leaves, rounded up, at least one."""
    return max(1, math.ceil(eligible_frac * num - SLACK))


def pick_states(
    candidates: Candidates, num: int, *, selection: Selection, mixture: Mixture, max_per_problem: int,
    progress: Progress, generator: np.random.Generator,
) -> list[int]:
    """Positions of ``num`` distinct candidates, drawn from (1 - e_u - e_s) selection + e_u uniform + e_s stale.

    "Selection" takes the best rank that is left, ties at random; "stale" draws in proportion to steps since the
    last replay. All random numbers are drawn whatever ``num`` is, so the first pick never depends on it.
    """
    size = len(candidates)
    scores = selection.rank(candidates, progress, generator)
    coins = generator.random(max_per_problem)[:num].tolist()
    tie, noise = generator.random((2, size))
    picked: list[int] = []
    for coin in coins:
        if coin < mixture.eps_uniform:
            order = np.argsort(noise)
        elif coin < mixture.eps_uniform + mixture.eps_stale:
            idle = np.maximum(candidates.idle, 0).astype(np.float64)
            order = np.argsort(arrival_times(noise[:, None], idle if idle.any() else np.ones(size))[:, 0])
        else:
            order = np.lexsort((tie, -scores))
        picked.append(next(position for position in order.tolist() if position not in picked))
    return picked


def picked_rows(
    store: Store, picks: list[tuple[int, int]], eligible: Eligible, plan: Plan, progress: Progress, *,
    selection: Selection, mixture: Mixture, max_per_problem: int, seed: int,
) -> np.ndarray:
    """Entries of the picked problems; a problem's states depend on (store, seed, step, problem) alone."""
    groups = state_rows(store, [number for number, _ in picks], eligible, plan.eligible_frac)
    hashes, chosen = store.problems.columns["hash"], list[int]()
    for (number, num), rows, candidates in zip(picks, groups, store.candidates(groups, progress.step), strict=True):
        positions = pick_states(
            candidates, num, selection=selection, mixture=mixture, max_per_problem=max_per_problem, progress=progress,
            generator=rng.generator(seed, "replay.state", progress.step, int(hashes[number])),
        )
        chosen += [int(rows[position]) for position in positions]
    return np.array(chosen, dtype=np.int64)
