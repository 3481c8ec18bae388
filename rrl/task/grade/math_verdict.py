"""math-verify's verdict on one answer; runs in the judge's process only (it may hang)."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Any

from math_verify import parse, verify

# Behind a number in a box this makes math-verify 0.9 give up on the number; MATH's own graders drop it.
_PERCENT = re.compile(r"\s*(?:\\?%|(?:\\text\{)?\s*(?:percent(?:age)?|pct)\}?)\s*\Z", re.IGNORECASE)

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own timer is off: ours is on


def equal(gold: str, answer: str) -> float:
    """1 where ``answer`` equals ``gold`` as mathematics, else 0."""
    read = _read(gold)
    return float(bool(read) and bool(verify(list(read), list(_read(answer)), timeout_seconds=None)))


def readable(text: str) -> float:
    """1 where ``text`` can be read as an answer: an expression, or words to be compared as they stand."""
    return float(bool(_read(text)))


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[Any, ...]:
    plain = _PERCENT.sub("", text.strip())
    return tuple(parse(f"\\boxed{{{plain}}}", parsing_timeout=None)) if plain else ()
