"""Text that a model or a data set wrote, made safe to be shown anywhere: it moves no cursor and can be encoded."""

from __future__ import annotations

_PICTURES = {**{i: 0x2400 + i for i in range(32) if i not in (9, 10)}, 127: 0x2421}  # control characters' own pictures


def visible(text: object, most: int) -> str:
    """``text`` with control characters as pictures, lone surrogates as "?", and at most ``most`` characters of it."""
    whole = str(text)
    more = len(whole) - most
    cut = whole[:most] + (f" ... and {more:,} characters more" if more > 0 else "")
    return cut.translate(_PICTURES).encode("utf-8", "replace").decode("utf-8")
