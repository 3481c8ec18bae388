"""Where tokens begin in the decoded text: what every cut by text shares.

Only boundaries between the sampled tokens themselves are ever cut, so nothing is tokenised again. A token boundary
inside a character (a byte-level token may hold a part of one) shows as U+FFFD at the end of the decoded prefix.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

Decode = Callable[[Sequence[int]], str]

BROKEN = "\ufffd"
INSIDE = -1
_CHARACTER_BYTES = 4  # of UTF-8, and no token holds less than a byte


def token_starts(decode: Decode, tokens: Sequence[int]) -> tuple[str, list[int]]:
    """(text, [T + 1] characters of the text before token t; ``INSIDE`` where t is inside a character).

    Example: two byte tokens of one character between "a" and "b" -> [0, 1, INSIDE, 2, 3].
    """
    text = decode(tokens)
    return text, _windowed(decode, tokens, text) or _exact(decode, tokens, text)


def whole_character(decode: Decode, tokens: Sequence[int], t: int) -> bool:
    """Whether no character is open before token t; decodes only as many tokens as one may span."""
    return not decode(tokens[max(0, t - _CHARACTER_BYTES) : t]).endswith(BROKEN)


def boundaries_in(text: str, starts: Sequence[int], spans: Iterable[tuple[int, int]], apart: int) -> list[int]:
    """The last token boundary in each span of characters (both ends allowed), at least ``apart`` tokens apart.

    A span with no token boundary gives none; nor does one with nothing but white space behind it: its prefix would
    be the whole response.

    Example: "a. b" as tokens ("a", ".", " b"), starts [0, 1, 2, 4], span (2, 3) after the full stop -> [2].
    """
    known = [(start, t) for t, start in enumerate(starts[:-1]) if t > 0 and start != INSIDE]
    places, end = [start for start, _ in known], len(text.rstrip())
    found, previous = [], 0
    for first, last in spans:
        i = bisect_right(places, last) - 1
        if i < 0 or places[i] < first or places[i] >= end:
            continue
        t = known[i][1]
        if t - previous >= apart:
            found.append(t)
            previous = t
    return found


def _windowed(decode: Decode, tokens: Sequence[int], text: str) -> list[int] | None:
    """In linear time, each piece decoded behind the one before it; None where the pieces do not make up the text."""
    starts, read, anchor, length, known = [0], 0, 0, 0, ""
    pieces = []
    for t in range(1, len(tokens) + 1):
        window = decode(tokens[anchor:t])
        if window.endswith(BROKEN):
            starts.append(INSIDE)
            continue
        if not window.startswith(known):
            return None
        pieces.append(window[len(known) :])
        length += len(pieces[-1])
        starts.append(length)
        anchor, read = read, t
        known = decode(tokens[anchor:read])
    # A response that was cut off inside a character ends in nothing but broken ones.
    joined = "".join(pieces)
    return starts if text.startswith(joined) and not text[len(joined) :].strip(BROKEN) else None


def _exact(decode: Decode, tokens: Sequence[int], text: str) -> list[int]:
    """Every prefix decoded: quadratic, for decoders whose text depends on what stands far before."""
    starts = [0]
    for t in range(1, len(tokens) + 1):
        prefix = decode(tokens[:t])
        starts.append(len(prefix) if text.startswith(prefix) and not prefix.endswith(BROKEN) else INSIDE)
    return starts
