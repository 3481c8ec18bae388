"""Reward functions of TRL that also tell replay what they said. What the trainer gets is not changed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

Tell = Callable[[list[float], list[list[int]], dict[str, Any]], None]


class Watched:
    """Wraps all reward functions of a trainer; the last one to be called in a batch tells their weighted sum.

    Args:
      functions: callables as TRL takes them, not async, no model and no name of one.
      weights: called when the sum is due; one weight a function.
      active: whether the batch is to be told; False in evaluation.
      tell: (sums, completion ids, the columns that TRL hands to a reward function).
    """

    def __init__(
        self, functions: Sequence[Any], *, weights: Callable[[], list[float]], active: Callable[[], bool], tell: Tell
    ) -> None:
        if not functions:
            raise ValueError("watch() was given no reward function; expected all that the trainer gets")
        self._weights, self._active, self._tell = weights, active, tell
        self._said: dict[int, Sequence[float | None]] = {}
        self.functions = [self._wrapped(i, f) for i, f in enumerate(functions)]

    def _wrapped(self, place: int, function: Any) -> Callable[..., Any]:
        name = getattr(function, "__name__", type(function).__name__)
        if isinstance(function, str) or hasattr(function, "parameters") or not callable(function):
            raise ValueError(f"reward {name!r} is a model or its name; expected a function that calls it, because "
                             "replay has to see its numbers")
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            raise ValueError(f"reward {name!r} is async; expected a plain function, e.g. one that runs it with "
                             "asyncio.run")

        @functools.wraps(function, updated=())
        def watched(prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any) -> Any:
            rewards = function(prompts=prompts, completions=completions, completion_ids=completion_ids, **columns)
            if rewards is None:
                raise ValueError(f"reward {name!r} returned None; expected a list of {len(prompts)} numbers: is its "
                                 "return statement missing?")
            rewards = list(rewards)
            if self._active():
                self._said[place] = rewards
                if len(self._said) == len(self.functions):
                    self._tell(self._sums(prompts), completion_ids, columns)
                    self._said = {}
            return rewards

        watched.__name__ = name
        return watched

    def _sums(self, prompts: Sequence[Any]) -> list[float]:
        """sum_i w_i r_i of each row, functions that had no opinion left out."""
        weights, sums = self._weights(), list[float]()
        for row in range(len(prompts)):
            said = [(w, self._said[i][row]) for i, w in enumerate(weights)]
            given = [w * float(r) for w, r in said if r is not None]
            if not given:
                raise ValueError(f"every reward function returned None for row {row}, prompt "
                                 f"{str(prompts[row])[:80]!r}; expected a number from at least one: return the "
                                 "lowest reward where there is no answer")
            sums.append(sum(given))
        return sums
