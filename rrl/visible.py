"""Text that a model, a data set or a program wrote, made safe to be shown anywhere: it moves no cursor, turns no line
round, and can be encoded."""

from __future__ import annotations

import json
import re
from typing import Any

_PICTURES = {**{i: 0x2400 + i for i in range(32) if i not in (9, 10)}, 127: 0x2421}  # control characters' own pictures
_C1 = range(0x80, 0xA0)  # control characters too: 0x9b begins a terminal's commands as ESC [ does
_TURNING = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""They end a line, or show what follows in another order than it is written in (Boucher and Anderson, 2111.00169)."""
_SHOWN = _PICTURES | {i: f"\\x{i:02x}" for i in _C1} | {i: f"\\u{i:04x}" for i in _TURNING}
_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: object, most: int) -> str:
    """``text`` with what a terminal or a browser would obey instead of show spelled out, and lone surrogates as "?".

    Args:
      text: anything; its ``str`` is shown.
      most: characters of it that are shown; how many more there are is said.
    """
    whole = str(text)
    more = len(whole) - most
    return shown(whole[:most] + (f" ... and {more:,} characters more" if more > 0 else ""))


def shown(text: str) -> str:
    """``visible`` of any length."""
    return text.translate(_SHOWN).encode("utf-8", "replace").decode("utf-8")


def json_line(row: Any) -> str:
    """One line of JSON that people can read in any language; what ``visible`` spells out is escaped, so nothing of
    ``row`` is lost."""
    text = json.dumps(row, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def csv_cell(value: object) -> object:
    """``value`` for a CSV that somebody opens in a spreadsheet: text that it would take for a formula gets an
    apostrophe before it, as the spreadsheet itself writes such text. Numbers stay."""
    if not isinstance(value, str):
        return value
    if value.startswith(("=", "+", "-", "@", "\t", "\r")):
        try:
            float(value)
        except ValueError:
            value = f"'{value}"
    return shown(value)
