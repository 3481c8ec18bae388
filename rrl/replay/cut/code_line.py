"""Between the statements of code, line by line."""

from __future__ import annotations

import re

from rrl.protocols import Task
from rrl.records import Attempt
from rrl.replay.cut.text import cut_text

_BLOCK = re.compile(r"^[ \t]*```[^\n]*\n(?P<code>.*?)(?:^[ \t]*```[^\n]*|\Z)", re.MULTILINE | re.DOTALL)
_LITERAL = re.compile(
    r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|#[^\n]*", re.DOTALL
)
_BLANK_LINES = re.compile(r"(?:[ \t]*\n)*")


class CodeLineCut:
    """Behind each line of code that ends a statement, before the next line's indentation, and before the first line.

    A line ends none while a bracket or a long string is open or a backslash goes on. With fences (```) only what
    stands inside them is code, never the fence's header; without any, all text is. Strings and # comments are read
    as Python's; nothing is parsed.

    Args:
        task: decodes.
        apart: least sampled tokens between boundaries, and before the first one, >= 1.
    """

    def __init__(self, *, task: Task, apart: int) -> None:
        if apart < 1:
            raise ValueError(f"replay.cut.apart is {apart}; expected >= 1")
        self._task, self._apart = task, apart

    def boundaries(self, attempt: Attempt) -> list[int]:
        return cut_text(self._task.decode, attempt.response, statement_gaps, self._apart)


def code_blocks(text: str) -> list[tuple[int, int]]:
    """Spans of code: what stands inside fences, the whole text where there is no fence."""
    return [match.span("code") for match in _BLOCK.finditer(text)] if "```" in text else [(0, len(text))]


def statement_gaps(text: str) -> list[tuple[int, int]]:
    """Spans between statements. Example: "f(1,\\n2)\\n\\n  g" -> (0, 0), (8, 9): the first break is in a bracket."""
    gaps = []
    for first, last in code_blocks(text):
        code = _LITERAL.sub(lambda match: "x" * len(match[0]), text[first:last])
        gaps.append((first, first))
        depth, at = 0, 0
        while at < len(code):
            depth = max(0, depth + (code[at] in "([{") - (code[at] in ")]}"))
            at += 1
            if code[at - 1] == "\n" and depth == 0 and code[at - 2 : at - 1] != "\\":
                blank = _BLANK_LINES.match(code, at)
                end = blank.end() if blank else at
                gaps.append((first + at, first + end))
                at = end
    return gaps
