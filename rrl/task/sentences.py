"""Where a reasoning step ends in text: behind a sentence or a line, before the answer is stated."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

_WINDOW = 8  # tokens read on either side of a boundary; a sentence's end and the space behind it fit
_ENDS = re.compile(r"(?:\n\s*|[.!?][\"')\]*$]*\s*)\Z")
_BROKEN = "\ufffd"


def step_boundaries(
    decode: Callable[[Sequence[int]], str], tokens: Sequence[int], stated: int | None, apart: int
) -> list[int]:
    """Boundaries t, ascending: tokens[:t] ends with a sentence or a line, and tokens[t:] says something more.

    "3.5" is no end of a sentence, and white space behind one belongs to it. Only boundaries between whole characters.
    Example, a token a character: "a. b\\nc" -> [3, 5].

    Args:
      stated: character at which the answer is announced; nothing behind it is a step. None = nowhere.
      apart: least tokens before the first boundary and between two, >= 1.
    """
    last = len(tokens) if stated is None else _tokens_before(decode, tokens, stated)
    spelled = {token: decode((token,)) for token in set(tokens)}
    found: list[int] = []
    for t in range(1, last + (stated is not None)):
        if t >= len(tokens) or not _may_end(spelled[tokens[t - 1]]):
            continue
        before, after = decode(tokens[max(0, t - _WINDOW) : t]), decode(tokens[t : t + _WINDOW])
        if not _ENDS.search(before) or not (before[-1:].isspace() or after[:1].isspace()):
            continue
        if before.endswith(_BROKEN) or spelled[tokens[t]].isspace():
            continue  # the white space in between belongs to the step before
        if t - (found[-1] if found else 0) >= apart:
            found.append(t)
    while found and not decode(tokens[found[-1] :]).strip():
        found.pop()
    return found


def _may_end(piece: str) -> bool:
    return bool(_ENDS.search(piece)) or piece.isspace() or piece.strip(" \"')]*$") == ""


def _tokens_before(decode: Callable[[Sequence[int]], str], tokens: Sequence[int], place: int) -> int:
    """The largest t for which tokens[:t] decodes to at most ``place`` characters."""
    return bisect_right(range(len(tokens) + 1), place, key=lambda t: len(decode(tokens[:t]))) - 1
