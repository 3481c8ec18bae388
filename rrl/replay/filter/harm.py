"""Openings that must never be restarted from: a scorer of harm, and a threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from rrl.protocols import Verdict
from rrl.records import Attempt, Prefix
from rrl.types import Start, plain

_KEPT = 1 << 16  # scores remembered: a state is judged when it is stored, when it converts and before it is credited


class Harm:
    """The action where the scorer's number is at or above ``threshold``, else keep.

    Restarting from the opening of a harmful answer, or of a jailbreak that worked, would practise it; so a prefix is
    judged as it stands, whatever became of it.

    Args:
        scorer: states -> numbers, higher = more harmful, finite.
        threshold: in the scorer's own unit.
        reads: "prefix" = the prefix alone, "state" = behind its prompt.
        action: "drop", or "quarantine" for a person to look at.
    """

    def __init__(
        self, *, scorer: Callable[[Sequence[Start]], np.ndarray], threshold: float, reads: Literal["prefix", "state"],
        action: Literal["drop", "quarantine"],
    ) -> None:
        self._scorer, self._threshold, self._alone, self._action = scorer, threshold, reads == "prefix", action
        self._scores: dict[str, float] = {}

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        score = self.score(Start(problem=prefix.problem, prefix=prefix.tokens))
        if score >= self._threshold:
            return Verdict(self._action, f"harm {score:.3g}, at or above {self._threshold:.3g}")
        return Verdict("keep", "")

    def score(self, state: Start) -> float:
        """The scorer's number for a state's prefix. Raises ValueError for one that is not finite."""
        if state.key not in self._scores:
            if len(self._scores) >= _KEPT:
                self._scores.clear()
            # Scorers read a context: here the prefix may be all of it.
            read = Start(problem=replace(state.problem, prompt=plain(state.prefix))) if self._alone else state
            score = float(self._scorer([read])[0])
            if not np.isfinite(score):
                raise ValueError(f"replay.filter.harm.scorer gave {score} for a prefix of {state.problem.id!r}; "
                                 "expected a finite number")
            self._scores[state.key] = score
        return self._scores[state.key]
