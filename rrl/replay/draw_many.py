"""States of many problems picked in one pass: the law of ``draw.pick_states`` from other random numbers.

A generator, a ranking and two sorts for each problem are some 80 microseconds. Here every number that a state or a
problem needs is named by its own key, so that which of a problem's states is picked still depends on (store, seed,
step, problem) alone, and maxima over segments take the place of sorts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rrl import rng
from rrl.protocols import RowwiseSelection
from rrl.records import Progress
from rrl.replay.draw import SLACK, Mixture
from rrl.replay.noise import RowNoise
from rrl.replay.posterior import posterior_mean
from rrl.replay.race import arrival_times
from rrl.replay.store import Store


class Groups(NamedTuple):
    """Problems that give states. G problems, R entries.

    numbers: [G] of the problems.  nums: [G] states to pick of each, at most its count.  order: [G] places of the
    problems by their turn.  rows: [R] entries that may be drawn, problem after problem, oldest first.
    counts: [G] >= 1.
    """

    numbers: np.ndarray
    nums: np.ndarray
    order: np.ndarray
    rows: np.ndarray
    counts: np.ndarray

    @property
    def picks(self) -> list[tuple[int, int]]:
        """(problem number, states to pick), by their turn."""
        return list(zip(self.numbers[self.order].tolist(), self.nums[self.order].tolist(), strict=True))


def nums_eligible(counts: np.ndarray, eligible_frac: float) -> np.ndarray:
    """``draw.num_eligible`` of many counts, but 0 of 0."""
    nums: np.ndarray = np.maximum(np.ceil(eligible_frac * counts - SLACK).astype(np.int64), counts > 0)
    return nums


def best_share(store: Store, groups: Groups, eligible_frac: float) -> Groups:
    """Of each problem's entries the ``eligible_frac`` with the best posterior."""
    if eligible_frac >= 1.0:
        return groups
    c, rows, of = store.shelf.columns, groups.rows, np.repeat(np.arange(len(groups.counts)), groups.counts)
    mean = posterior_mean(c["conversions"][rows], c["tries"][rows], c["value"][rows], store.kappa)
    keep, place = nums_eligible(groups.counts, eligible_frac), np.empty(len(rows), dtype=np.int64)
    starts = np.cumsum(groups.counts) - groups.counts
    place[np.lexsort((-mean, of))] = np.arange(len(rows)) - starts[of]
    return groups._replace(rows=rows[place < keep[of]], counts=keep)


def pick_rows(
    store: Store, groups: Groups, progress: Progress, *, selection: RowwiseSelection, reads: tuple[str, ...],
    mixture: Mixture, max_per_problem: int, seed: int,
) -> np.ndarray:
    """Entries to restart from: problems by their turn, each one's picks together.

    Args:
        reads: columns that the selection ranks by.
        max_per_problem: largest number of ``groups.nums`` that there may be.
    """
    rows, counts, step = groups.rows, groups.counts, progress.step
    of, keys = np.repeat(np.arange(len(counts)), counts), store.shelf.columns["key"][rows]
    names = store.problems.columns["hash"][groups.numbers]
    coins = rng.uniforms(seed, "replay.coins", step, names[:, None], np.arange(max_per_problem))
    other = RowNoise(seed, "replay.states", step, keys).random(len(rows))
    by_selection = coins >= mixture.eps_uniform + mixture.eps_stale
    asks: np.ndarray = np.any(by_selection & (np.arange(max_per_problem) < groups.nums[:, None]), axis=1)
    asked = np.flatnonzero(asks[of])
    scores = np.zeros(len(rows))
    if len(asked):
        candidates = store.candidates_of_many(rows[asked], reads, step)
        ranks = selection.rank(candidates, progress, RowNoise(seed, "replay.ranks", step, keys[asked]))
        scores[asked] = np.where(np.isnan(ranks), -np.inf, ranks)  # behind all others, as sorting puts it
    waited = _waited(store, rows, of, counts, other, step) if mixture.eps_stale > 0.0 else other
    left, picked, turn = np.ones(len(rows), dtype=bool), list[np.ndarray](), np.argsort(groups.order)
    for lap in range(int(groups.nums.max(initial=0))):
        live = groups.nums > lap
        some = np.flatnonzero(left & live[of])
        group, coin = of[some], coins[of[some], lap]
        ignored = np.where(coin < mixture.eps_uniform, other[some], waited[some])
        rank = np.where(by_selection[group, lap], scores[some], ignored)
        best = _best(rank, group)
        if len(best) > int(live.sum()):
            tie = RowNoise(seed, "replay.ties", step, keys[some[best]]).random(len(best))
            best = best[_best(tie, group[best])]
            best = best[runs(group[best])[0]]
        firsts = some[best]
        left[firsts] = False
        picked.append(firsts)
    places = np.concatenate(picked) if picked else np.empty(0, dtype=np.int64)
    laps = np.repeat(np.arange(len(picked)), [len(p) for p in picked])
    chosen: np.ndarray = rows[places[np.lexsort((laps, turn[of[places]]))]]
    return chosen


def runs(of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where equal neighbours begin, and how many each are. [4 4 7 7 7] -> [0 2], [2 3]."""
    other = np.ones(len(of), dtype=bool)
    np.not_equal(of[1:], of[:-1], out=other[1:])
    starts = np.flatnonzero(other)
    return starts, np.append(starts[1:], len(of)) - starts


def _best(rank: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Places of each group's largest rank, several among equals. Groups stand together, ascending."""
    starts, sizes = runs(group)
    best: np.ndarray = np.flatnonzero(rank == np.repeat(np.maximum.reduceat(rank, starts), sizes))
    return best


def _waited(
    store: Store, rows: np.ndarray, of: np.ndarray, counts: np.ndarray, noise: np.ndarray, step: int
) -> np.ndarray:
    """A score whose largest falls in proportion to steps since the last replay, or anywhere where none were."""
    idle = np.maximum(store.candidate_column("idle", rows, step), 0).astype(np.float64)
    none = np.maximum.reduceat(idle, np.cumsum(counts) - counts)[of] == 0.0
    return -arrival_times(noise[:, None], np.where(none, 1.0, idle))[:, 0]
