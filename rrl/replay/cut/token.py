"""Any token boundary, every k sampled tokens."""

from __future__ import annotations

from rrl.records import Attempt
from rrl.replay.turns import own_places


class TokenCut:
    """Before sampled token number t_min, t_min + every, ... (the first is number 0).

    For vocabularies of whole symbols. Text tasks use ``steps``: a byte-level token may end inside a character.

    Args:
        every: sampled tokens between boundaries, >= 1.
        t_min: sampled tokens before the first boundary, >= 1.
    """

    def __init__(self, *, every: int, t_min: int) -> None:
        if every < 1 or t_min < 1:
            raise ValueError(f"replay.cut.every is {every} and t_min {t_min}; expected >= 1")
        self._every, self._t_min = every, t_min

    def boundaries(self, attempt: Attempt) -> list[int]:
        return own_places(attempt.response)[self._t_min :: self._every]
