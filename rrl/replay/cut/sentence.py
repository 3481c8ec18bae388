"""Between sentences, and between lines."""

from __future__ import annotations

import re

from rrl.protocols import Task
from rrl.records import Attempt
from rrl.replay.cut.text import cut_text

# What ends a sentence: . ! ? before white space, their full-width forms, or a line break.
_GAP = re.compile("(?:[.!?][\"')\\]]*(?=\\s)|[\u3002\uff01\uff1f])(?P<stop>\\s*)|(?P<line>\\s*\\n\\s*)")


class SentenceCut:
    """Where white space stands behind . ! or ?, behind a full-width stop, and at line breaks; "3.5" is no end.

    Args:
        task: decodes.
        apart: least sampled tokens between boundaries, and before the first one, >= 1.
    """

    def __init__(self, *, task: Task, apart: int) -> None:
        if apart < 1:
            raise ValueError(f"replay.cut.apart is {apart}; expected >= 1")
        self._task, self._apart = task, apart

    def boundaries(self, attempt: Attempt) -> list[int]:
        return cut_text(self._task.decode, attempt.response, _gaps, self._apart)


def _gaps(text: str) -> list[tuple[int, int]]:
    return [match.span(match.lastgroup or 0) for match in _GAP.finditer(text)]
