"""What every admission shares: where it may cut, and how a cut becomes a prefix."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.records import Attempt, Prefix
from rrl.types import sampled


def open_boundaries(attempt: Attempt, boundaries: Sequence[int]) -> list[int]:
    """Boundaries of the whole response inside the attempt's own tokens: len(prefix) < t < len(response).

    Example: replayed prefix of 2 tokens, response of 5, boundaries (1, 2, 3, 4) -> [3, 4].
    """
    first, last = len(attempt.start.prefix), len(attempt.start.prefix) + len(attempt.tokens)
    return [t for t in boundaries if first < t < last]


def values_at(attempt: Attempt, cuts: Sequence[int]) -> list[float]:
    """V(s_t) at boundaries t of the whole response, each inside the attempt's own tokens."""
    first, value = len(attempt.start.prefix), attempt.value.tolist()
    return [value[t - first] for t in cuts]


def earliest_near_peak(attempt: Attempt, cuts: Sequence[int], delta: float) -> int:
    """The first of ``cuts`` with V(s_t) >= max_t V(s_t) - delta.

    Example: values (.2, .5, .55), delta .1, cuts (1, 2, 3) -> 2.
    """
    values = values_at(attempt, cuts)
    bar = max(values) - delta
    return next(t for t, value in zip(cuts, values, strict=True) if value >= bar)


def prefix_at(attempt: Attempt, t: int, value: float, step: int) -> Prefix:
    """The first ``t`` tokens of the attempt's response as a proposal."""
    response = attempt.response
    return Prefix(
        problem=attempt.start.problem, tokens=response[:t], origin="replay" if attempt.start.replayed else "rollout",
        born_step=step, born_value=value, depth_frac=len(sampled(response[:t])) / len(sampled(response)),
        parent=attempt.start.key,
    )


def own_prefix(attempt: Attempt, t: int, step: int) -> list[Prefix]:
    """The proposal of a cut inside the attempt's own tokens, valued where it was cut."""
    return [prefix_at(attempt, t, values_at(attempt, [t])[0], step)]
