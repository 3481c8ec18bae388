"""A response in equal parts, however long it is."""

from __future__ import annotations

from rrl.records import Attempt
from rrl.replay.turns import own_places


class FixedCut:
    """Before sampled token i L / parts for i = 1 .. parts - 1, rounded down, equal ones and 0 left out; L sampled ones.

    Example: L 10, parts 4 -> (2, 5, 7).

    Args:
        parts: parts of the whole response, >= 2.
    """

    def __init__(self, *, parts: int) -> None:
        if parts < 2:
            raise ValueError(f"replay.cut.parts is {parts}; expected >= 2")
        self._parts = parts

    def boundaries(self, attempt: Attempt) -> list[int]:
        own = own_places(attempt.response)
        numbers = {i * len(own) // self._parts for i in range(1, self._parts)} - {0}
        return [own[number] for number in sorted(numbers)]
