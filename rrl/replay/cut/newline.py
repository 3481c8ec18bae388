"""Between lines of text."""

from __future__ import annotations

import re

from rrl.protocols import Task
from rrl.records import Attempt
from rrl.replay.cut.text import cut_text

_LINE_BREAKS = re.compile(r"\n+")


class NewlineCut:
    """Behind each run of line breaks, before the next line's indentation; none where the text has one line.

    Lines as steps of a solution: VinePPO (Kazemnejad et al., arXiv 2410.01679).

    Args:
        task: decodes.
        apart: least sampled tokens between boundaries, and before the first one, >= 1.
    """

    def __init__(self, *, task: Task, apart: int) -> None:
        if apart < 1:
            raise ValueError(f"replay.cut.apart is {apart}; expected >= 1")
        self._task, self._apart = task, apart

    def boundaries(self, attempt: Attempt) -> list[int]:
        return cut_text(self._task.decode, attempt.response, _line_starts, self._apart)


def _line_starts(text: str) -> list[tuple[int, int]]:
    return [(match.start() + 1, match.end()) for match in _LINE_BREAKS.finditer(text)]
