"""Whose turn it is inside a response: cuts fall before tokens of the policy, counts are of its own tokens.

A given token, spoken by the environment, stands as ``-1 - id`` (see ``rrl.starts``). A state just before one would let
the policy speak where the environment has the word, so such a state waits until the environment has spoken.
"""

from __future__ import annotations

from collections.abc import Iterable

from rrl.types import Tokens


def own_places(response: Tokens) -> list[int]:
    """Places of the sampled tokens. (7, -4, 5) -> [0, 2]."""
    if min(response, default=0) >= 0:
        return list(range(len(response)))
    return [place for place, token in enumerate(response) if token >= 0]


def own_before(response: Tokens) -> list[int]:
    """[T + 1] sampled tokens before each place. (7, -4, 5) -> [0, 1, 1, 2]."""
    if min(response, default=0) >= 0:
        return list(range(len(response) + 1))
    counts = [0]
    for token in response:
        counts.append(counts[-1] + (token >= 0))
    return counts


def past_given(boundaries: Iterable[int], response: Tokens) -> list[int]:
    """Boundaries moved to the next token of the policy, each once; those behind which it never speaks are left out.

    Example: response (7, -4, -5, 6, 8), boundaries (1, 2, 4) -> [3, 4].
    """
    if min(response, default=0) >= 0:
        return sorted(set(boundaries))
    following = len(response)
    turn = [following] * len(response)  # [t] the first place from t on where the policy speaks
    for place in reversed(range(len(response))):
        following = place if response[place] >= 0 else following
        turn[place] = following
    return sorted({turn[t] for t in boundaries if t < len(response)} - {len(response)})
