"""Any token boundary, every k tokens."""

from __future__ import annotations

from rrl.records import Attempt


class TokenCut:
    """t = t_min, t_min + every, ... < len(response).

    For vocabularies of whole symbols. Text tasks use ``steps``: a byte-level token may end inside a character.

    Args:
        every: tokens between boundaries, >= 1.
        t_min: first boundary, tokens, >= 1.
    """

    def __init__(self, *, every: int, t_min: int) -> None:
        if every < 1 or t_min < 1:
            raise ValueError(f"replay.cut.every is {every} and t_min {t_min}; expected >= 1")
        self._every, self._t_min = every, t_min

    def boundaries(self, attempt: Attempt) -> list[int]:
        return list(range(self._t_min, len(attempt.start.prefix) + len(attempt.tokens), self._every))
