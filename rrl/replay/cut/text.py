"""Where tokens begin in the decoded text: what every cut by text shares.

Only boundaries between the sampled tokens themselves are ever cut, so nothing is tokenised again. A token boundary
inside a character (a byte-level token may hold a part of one) shows as U+FFFD at the end of the decoded prefix.
What an environment said inside a response is text like any other, but no boundary stands just before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from rrl.replay.turns import own_before, past_given
from rrl.types import Tokens, plain

Decode = Callable[[Sequence[int]], str]
Spans = Callable[[str], Iterable[tuple[int, int]]]

BROKEN = "\ufffd"
INSIDE = -1
_CHARACTER_BYTES = 4  # of UTF-8, and no token holds less than a byte


def cut_text(decode: Decode, response: Tokens, spans: Spans, apart: int) -> list[int]:
    """Boundaries of a whole response in the spans that its text has, at least ``apart`` sampled tokens apart."""
    text, starts = token_starts(decode, plain(response))
    return boundaries_in(text, starts, spans(text), apart, response)


def token_starts(decode: Decode, tokens: Sequence[int]) -> tuple[str, list[int]]:
    """(text, [T + 1] characters of the text before token t; ``INSIDE`` where t is inside a character).

    Example: two byte tokens of one character between "a" and "b" -> [0, 1, INSIDE, 2, 3].
    """
    text = decode(tokens)
    return text, _windowed(decode, tokens, text) or _exact(decode, tokens, text)


def whole_character(decode: Decode, tokens: Sequence[int], t: int) -> bool:
    """Whether no character is open before token t; decodes only as many tokens as one may span."""
    return not decode(plain(tuple(tokens[max(0, t - _CHARACTER_BYTES) : t]))).endswith(BROKEN)


def boundaries_in(
    text: str, starts: Sequence[int], spans: Iterable[tuple[int, int]], apart: int, response: Tokens
) -> list[int]:
    """The last token boundary in each span of characters (both ends allowed), at least ``apart`` own tokens apart.

    A span with no token boundary gives none; nor does one with nothing but white space behind it: its prefix would
    be the whole response. A boundary before given tokens waits until they have been spoken.

    Example: "a. b" as tokens ("a", ".", " b"), starts [0, 1, 2, 4], span (2, 3) after the full stop -> [2].
    """
    known = [(start, t) for t, start in enumerate(starts[:-1]) if t > 0 and start != INSIDE]
    places, end = [start for start, _ in known], len(text.rstrip())
    own, found, previous = own_before(response), list[int](), 0
    for first, last in spans:
        i = bisect_right(places, last) - 1
        if i < 0 or places[i] < first or places[i] >= end:
            continue
        for t in past_given([known[i][1]], response):
            if own[t] - previous >= apart:
                found.append(t)
                previous = own[t]
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
