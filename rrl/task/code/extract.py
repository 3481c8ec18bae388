"""The program in a response, and where its statements end."""

from __future__ import annotations

import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Callable, Sequence

_BLOCK = re.compile(r"^[ \t]*```[^\n]*\n(?P<code>.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def code_span(response: str) -> tuple[int, int]:
    """Where the program stands: inside the last fence (```) that holds anything, closed or not; without a fence, all.

    Example: "so\\n```python\\nx = 1\\n```" -> (13, 19).
    """
    return code_spans(response)[-1]


def code_spans(response: str) -> list[tuple[int, int]]:
    """Every program that a response has written so far, the one that counts last; at least one, maybe empty."""
    held = [match.span("code") for match in _BLOCK.finditer(response) if match["code"].strip()]
    return held or [(0, 0) if "```" in response else (0, len(response))]


def num_closed(response: str) -> int:
    """Fences that hold anything and are closed. Example: "```\\nx = 1\\n```" -> 1."""
    return sum(1 for match in _BLOCK.finditer(response) if match["code"].strip() and match.end("code") < match.end())


def code_of(response: str) -> str:
    """The program alone."""
    first, last = code_span(response)
    return response[first:last]


def fenced(code: str) -> str:
    """A response that is ``code`` alone."""
    return f"```python\n{code.strip(chr(10))}\n```"


def statement_ends(code: str) -> list[int]:
    """Characters behind each line that ends a statement, as Python itself reads it; up to where it is no Python.

    Example: "x = (1,\\n2)\\ny = 3\\n" -> [12, 18].
    """
    starts = [0]
    for line in io.StringIO(code, newline="\n"):
        starts.append(starts[-1] + len(line))
    ends: list[int] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(code, newline="\n").readline):
            if token.type == tokenize.ERRORTOKEN:  # how Python 3.11 reads what later ones raise an error at
                break
            if token.type == tokenize.NEWLINE and token.end[0] < len(starts):
                ends.append(starts[token.end[0]])
    except (tokenize.TokenError, SyntaxError):  # the response stops in the middle of a statement, or is no Python
        pass
    return ends


def statement_boundaries(decode: Callable[[Sequence[int]], str], tokens: Sequence[int], apart: int) -> list[int]:
    """Boundaries t, ascending: tokens[:t] ends before a program, or with a statement of one, with or without its line
    break.

    Args:
      apart: least tokens before the first boundary and between two, >= 1.
    """
    text = decode(tokens)
    places: list[int] = []
    for first, last in code_spans(text):
        places += [first, *(first + end for end in statement_ends(text[first:last]))]
    found: list[int] = []
    for place in places:
        t = bisect_right(range(len(tokens) + 1), place, key=lambda t: len(decode(tokens[:t]))) - 1
        if not 0 < t < len(tokens) or text[len(decode(tokens[:t])) : place].strip():
            continue  # a token that straddles the boundary and holds part of the statement before
        if t - (found[-1] if found else 0) >= apart:
            found.append(t)
    return found
