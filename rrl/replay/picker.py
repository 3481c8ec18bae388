"""Which entries to restart from, in a small store and in a large one: the same laws, each by what is fast there."""

from __future__ import annotations

from functools import partial

import numpy as np

from rrl.protocols import ProblemWeight, RowwiseSelection, Selection
from rrl.records import Plan, Progress
from rrl.replay import draw as drawing
from rrl.replay.draw_many import Groups, best_share, pick_rows
from rrl.replay.lottery import RACE_UP_TO, Lottery
from rrl.replay.store import Store
from rrl.types import Metrics


class Picker:
    """Draws for one store: the exponential race up to ``RACE_UP_TO`` states, the lottery beyond.

    Args: as those of ``Replay``.
    """

    def __init__(
        self, store: Store, *, seed: int, selection: Selection, problem_weight: ProblemWeight,
        mixture: drawing.Mixture, max_per_problem: int, max_score_age: int,
    ) -> None:
        self._store, self._seed, self._selection, self._weight = store, seed, selection, problem_weight
        self._mixture, self._max_per_problem, self._max_score_age = mixture, max_per_problem, max_score_age
        self._lottery = Lottery()
        self._rowwise = selection if isinstance(selection, RowwiseSelection) else None  # 20 microseconds to ask

    def forget(self) -> None:
        """To be called when the store was replaced by another state."""
        self._lottery = Lottery()

    def rows(self, num: int, plan: Plan, progress: Progress, last_rescore: int | None) -> np.ndarray:
        """At most ``num`` entries, of problems that are chosen here.

        Raises:
            ValueError: nobody may be drawn because all scores are old.
        """
        if self._is_large:
            self._lottery.refresh(self._store, self._weight)
            groups = self._lottery.pick(self._store, self._eligible(plan, progress), num, seed=self._seed,
                                        step=progress.step, max_per_problem=self._max_per_problem,
                                        eligible_frac=plan.eligible_frac)
            if groups is not None:
                return self._of_groups(groups, plan, progress)
        eligible = drawing.some_eligible(self._store, plan, progress.step, self._max_score_age, last_rescore)
        numbers, counts, weights = drawing.problem_weights(self._store, eligible, self._weight)
        nums = np.array([drawing.num_eligible(count, plan.eligible_frac) for count in counts.tolist()])
        picks = drawing.pick_problems(self._store, numbers, nums, weights, num, seed=self._seed, step=progress.step,
                                      max_per_problem=self._max_per_problem)
        if self._is_large and picks:
            return self._of_groups(self._groups_of(picks, plan, progress), plan, progress)
        return self._one_by_one(picks, eligible.__getitem__, plan, progress)

    def row(self, number: int, plan: Plan, progress: Progress, last_rescore: int | None) -> int | None:
        """An entry of a problem that a host chose, None where it has none that may be drawn. Raises as ``rows``."""
        p = self._store.problems.columns
        if self._is_large:
            rows = np.array(self._store.shelf.rows_of(number), dtype=np.int64)
            if not self._eligible(plan, progress)(rows).any():
                if self._store.open_rows(rows, progress.step).any():
                    drawing.some_eligible(self._store, plan, progress.step, self._max_score_age, last_rescore)
                return None
            if not self._weight.weight(p["root_success"][[number]], p["replays"][[number]]).any():
                return None
            return int(self._of_groups(self._groups_of([(number, 1)], plan, progress), plan, progress)[0])
        eligible = drawing.some_eligible(self._store, plan, progress.step, self._max_score_age, last_rescore)
        numbers, _, weights = drawing.problem_weights(self._store, eligible, self._weight)
        if not weights[numbers == number].any():
            return None
        return int(self._one_by_one([(number, 1)], eligible.__getitem__, plan, progress)[0])

    def metrics(self, plan: Plan, progress: Progress) -> Metrics:
        """The effective number of problems in a draw, 1 / sum q^2, nothing where no problem could be drawn.

        In a large store of all problems that are not parked, whether their states may be drawn just now or not."""
        if self._is_large:
            self._lottery.refresh(self._store, self._weight)
            weights = self._lottery.weights
        else:
            eligible = drawing.eligible_places(self._store, plan, progress.step, self._max_score_age)
            weights = drawing.problem_weights(self._store, eligible, self._weight)[2]
        return {"replay/ess": float(weights.sum() ** 2 / (weights**2).sum())} if weights.any() else {}

    @property
    def _is_large(self) -> bool:
        return len(self._store) > RACE_UP_TO

    def _eligible(self, plan: Plan, progress: Progress) -> drawing.Eligible:
        return partial(drawing.eligible_rows, self._store, plan, progress.step, self._max_score_age)

    def _groups_of(self, picks: list[tuple[int, int]], plan: Plan, progress: Progress) -> Groups:
        numbers, nums = (np.array(values, dtype=np.int64) for values in zip(*picks, strict=True))
        rows, counts = self._store.shelf.rows_of_many(numbers.tolist())
        may = self._eligible(plan, progress)(rows)
        counts = np.add.reduceat(may, np.cumsum(counts) - counts, dtype=np.int64)
        return Groups(numbers, nums, np.arange(len(nums)), rows[may], counts)

    def _of_groups(self, groups: Groups, plan: Plan, progress: Progress) -> np.ndarray:
        if self._rowwise is not None and (reads := self._rowwise.reads) is not None:
            return pick_rows(self._store, best_share(self._store, groups, plan.eligible_frac), progress,
                             selection=self._rowwise, reads=reads, mixture=self._mixture,
                             max_per_problem=self._max_per_problem, seed=self._seed)
        return self._one_by_one(groups.picks, self._eligible(plan, progress), plan, progress)

    def _one_by_one(
        self, picks: list[tuple[int, int]], eligible: drawing.Eligible, plan: Plan, progress: Progress
    ) -> np.ndarray:
        return drawing.picked_rows(
            self._store, picks, eligible, plan, progress, selection=self._selection, mixture=self._mixture,
            max_per_problem=self._max_per_problem, seed=self._seed,
        )
