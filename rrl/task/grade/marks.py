"""Where a response states its answer: ``\\boxed{72}``, ``#### 72``, ``Answer: 72`` or ``<answer>72</answer>``."""

from __future__ import annotations

import re
from collections.abc import Sequence

BOXED = "boxed"
"""The mark whose answer stands inside braces behind \\boxed or \\fbox."""

_BOX = re.compile(r"\\f?boxed\s*\{|\\fbox\s*\{")
_TAG = re.compile(r"<(\w+)>")


class Marks:
    """Finds the answer that a response states, by one or several marks.

    Args:
      marks: "boxed", a tag such as "<answer>", or what stands before the answer on its line such as "####". The first
        one is written by ``say``.
    """

    def __init__(self, marks: Sequence[str]) -> None:
        if not marks or not all(mark.strip() for mark in marks):
            raise ValueError(f"task.grader.marks is {list(marks)}; expected boxed, a tag as <answer>, or text as ####")
        self._marks = tuple(marks)

    def first(self, text: str) -> int | None:
        """Character at which an answer is first announced; no reasoning step is behind it."""
        places = [place for mark in self._marks if (place := _announced(text, mark)) is not None]
        return min(places, default=None)

    def last(self, text: str) -> str | None:
        """The last answer stated, by whatever mark; None where there is none."""
        found = [stated for mark in self._marks if (stated := _last(text, mark)) is not None]
        return max(found)[1] if found else None

    def say(self, answer: str) -> str:
        """``answer`` behind the first mark."""
        mark = self._marks[0]
        if mark == BOXED:
            return f"\\boxed{{{answer}}}"
        tag = _TAG.fullmatch(mark)
        return f"{mark} {answer}" if tag is None else f"{mark}{answer}</{tag[1]}>"


def last_boxed(text: str) -> str | None:
    """What the last closed \\boxed{} of ``text`` holds; braces may nest, escaped ones do not count."""
    found = _last(text, BOXED)
    return None if found is None else found[1]


def _announced(text: str, mark: str) -> int | None:
    if mark == BOXED:
        match = _BOX.search(text)
        return None if match is None else match.start()
    place = text.find(mark)
    return None if place < 0 else place


def _last(text: str, mark: str) -> tuple[int, str] | None:
    """(place, answer) of the last one stated by ``mark``."""
    if mark == BOXED:
        boxes = [(m.start(), held) for m in _BOX.finditer(text) if (held := _braced(text, m.end())) is not None]
        return boxes[-1] if boxes else None
    tag = _TAG.fullmatch(mark)
    if tag is not None:
        begin, end = text.rfind(mark), text.rfind(f"</{tag[1]}>")
        return (begin, text[begin + len(mark) : end].strip()) if 0 <= begin < end else None
    place = text.rfind(mark)
    if place < 0:
        return None
    return place, text[place + len(mark) :].partition("\n")[0].strip()


def _braced(text: str, place: int) -> str | None:
    """Text from ``place``, behind an opening brace, to its closing one; None where it stays open."""
    depth, i = 1, place
    while i < len(text):
        if text[i] == "\\":
            i += 2
            continue
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[place:i].strip()
        i += 1
    return None
