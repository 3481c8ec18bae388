"""Prefixes that are too short to mean anything, too long to leave room, or cut too near the end."""

from __future__ import annotations

from rrl.protocols import Verdict
from rrl.records import Attempt, Prefix
from rrl.types import sampled


class Length:
    """min_tokens <= t <= max_tokens and T - t >= min_tail, T the length of the response it was cut from.

    All counts are of sampled tokens: what an environment said in between is nobody's length.

    Args:
        min_tokens, max_tokens: tokens of the prefix, 1 <= min_tokens <= max_tokens.
        min_tail: tokens that the response had behind the cut, >= 1.
    """

    def __init__(self, *, min_tokens: int, max_tokens: int, min_tail: int) -> None:
        if not 1 <= min_tokens <= max_tokens or min_tail < 1:
            raise ValueError(f"replay.filter.length has min_tokens {min_tokens}, max_tokens {max_tokens}, min_tail "
                             f"{min_tail}; expected 1 <= min_tokens <= max_tokens and min_tail >= 1")
        self._min_tokens, self._max_tokens, self._min_tail = min_tokens, max_tokens, min_tail

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        depth = len(sampled(prefix.tokens))
        # Not the attempt's length: a stored state is judged again by the response it was cut from, not by a
        # short continuation that just solved it.
        tail = round(depth / prefix.depth_frac) - depth
        if not self._min_tokens <= depth <= self._max_tokens:
            return Verdict("drop", f"{depth} tokens, outside [{self._min_tokens}, {self._max_tokens}]")
        if tail < self._min_tail:
            return Verdict("drop", f"{tail} tokens behind the cut, fewer than {self._min_tail}")
        return Verdict("keep", "")
