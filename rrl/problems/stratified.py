"""Fresh problems with replacement, in fixed shares by difficulty."""

from __future__ import annotations

import numpy as np

from rrl import rng
from rrl.protocols import Task
from rrl.records import Progress
from rrl.types import Problem, Start

_GOLDEN = 0.6180339887498949  # (sqrt 5 - 1) / 2: its multiples mod 1 fill [0, 1) most evenly (Weyl sequence)


class Stratified:
    """Draws difficulties by ``shares`` and problems uniformly inside a difficulty.

    Row r of a step takes the difficulty at frac(u + r * golden ratio) of the cumulated shares, with one
    uniform u a step: every beginning of the batch holds its shares within a row or two, also a batch
    of one on average. A row's problem does not depend on how many rows are drawn, so a batch that
    gives rows to replay keeps its first ones.

    Args:
      shares: difficulty -> share of the rows, relative to the sum; 0 = never drawn.
      warm_up_shares: the same for the value warm-up (streams that begin with "warm_up").
    """

    def __init__(self, *, seed: int, task: Task, shares: dict[str, float], warm_up_shares: dict[str, float]) -> None:
        self._seed = seed
        by_difficulty: dict[str, list[Problem]] = {}
        for problem in task.train_problems():
            by_difficulty.setdefault(problem.difficulty, []).append(problem)
        self._train = _Strata("problems.shares", shares, by_difficulty)
        self._warm_up = _Strata("problems.warm_up_shares", warm_up_shares, by_difficulty)

    def draw(self, num: int, progress: Progress, stream: str = "problems") -> list[Start]:
        """``num`` fresh starts; pure in (seed, stream, step)."""
        strata = self._warm_up if stream.startswith("warm_up") else self._train
        generator = rng.generator(self._seed, stream, progress.step)
        return strata.draw(num, float(generator.random()), generator.random(num))


class _Strata:
    """Starts by difficulty with the cumulated shares."""

    def __init__(self, key: str, shares: dict[str, float], by_difficulty: dict[str, list[Problem]]) -> None:
        wanted = {name: share for name, share in shares.items() if share != 0}
        if not wanted or min(wanted.values()) < 0:
            raise ValueError(f"{key} is {shares}; expected shares >= 0, at least one of them > 0")
        if missing := sorted(set(wanted) - set(by_difficulty)):
            raise ValueError(
                f"{key} asks for difficulty {missing[0]!r}, which the task does not have; "
                f"expected some of: {', '.join(sorted(by_difficulty))} (set {key}.{missing[0]}=0 to leave it out)"
            )
        self._starts = [[Start(problem=p) for p in by_difficulty[name]] for name in wanted]
        self._ends = np.cumsum(list(wanted.values())) / sum(wanted.values())

    def draw(self, num: int, phase: float, uniform: np.ndarray) -> list[Start]:
        position = (phase + np.arange(num) * _GOLDEN) % 1.0
        # The last end may round to just below 1: rows beyond it belong to the last difficulty.
        stratum = np.minimum(np.searchsorted(self._ends, position, side="right"), len(self._ends) - 1)
        chosen = ((self._starts[s], u) for s, u in zip(stratum.tolist(), uniform.tolist(), strict=True))
        return [starts[int(u * len(starts))] for starts, u in chosen]
