"""A reverse curriculum on own states: once a state converts, restart one boundary nearer to the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.records import Attempt, Candidates, Prefix
from rrl.replay.admission.cuts import earliest_near_peak, open_boundaries, own_prefix, prefix_at


class Backstep:
    """Unsolved attempts are cut near their peak; a state that converts often proposes its parent boundary.

    The start walks back to the bare prompt without any gradient on prefix tokens: unbiased, slower, and useless
    when the suppressed decision is the very first token, since the policy must still sample it.

    Args:
        delta: as in ``near_peak``, P(solved), [0, 1].
        rate: conversion rate c / n that a state must pass, [0, 1].
        min_tries: decayed tries n that the rate must rest on, > 0.
    """

    def __init__(self, *, delta: float, rate: float, min_tries: float) -> None:
        if not 0.0 <= delta <= 1.0 or not 0.0 <= rate <= 1.0:
            raise ValueError(f"replay.admission.delta is {delta} and rate {rate}; expected numbers in [0, 1]")
        if min_tries <= 0.0:
            raise ValueError(f"replay.admission.min_tries is {min_tries}; expected > 0")
        self._delta, self._rate, self._min_tries = delta, rate, min_tries

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int
    ) -> list[Prefix]:
        proposals: list[Prefix] = []
        if root is not None and root.tries[0] >= self._min_tries and root.conversions[0] > self._rate * root.tries[0]:
            behind = [t for t in boundaries if t < len(attempt.start.prefix)]
            if behind:
                # No value was asked for there in this rollout; the child's is the nearest known one.
                proposals.append(prefix_at(attempt, behind[-1], float(root.value[0]), step))
        cuts = open_boundaries(attempt, boundaries)
        if cuts and not attempt.solved:
            proposals += own_prefix(attempt, earliest_near_peak(attempt, cuts, self._delta), step)
        return proposals
