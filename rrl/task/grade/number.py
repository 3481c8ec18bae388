"""Answers that are one number, compared exactly: no library, no floating point."""

from __future__ import annotations

import re
from fractions import Fraction

from rrl.protocols import Outcome
from rrl.task.data.row import Row
from rrl.task.grade.marks import Marks

_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s*[$\u20ac\u00a3\u00a5]?\s*(?P<sign2>[-+]?)\s*"
    r"(?:(?P<whole>\d+)\s+(?=\d+\s*/))?"  # the 1 of 1 1/2
    r"(?P<num>\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)"
    r"(?:\s*/\s*(?P<den>\d+))?"
    r"\s*%?\s*(?P<unit>(?:[^\W\d_][^\d]*)?)",
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_WRAPPED = re.compile(r"\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}")
_QUANTITIES = {
    "and", "or", "to", "half", "third", "quarter", "dozen", "hundred", "thousand", "million", "billion", "point",
}  # fmt: skip


class NumberGrader:
    """1 and solved where the number that the response states equals the gold one, else 0.

    Read: signs, thousands' commas, decimals, fractions and mixed numbers, currency in front, a percent sign or a unit
    behind (both without effect: "50%" equals "50", "5 km" equals "5"). Not read, and so wrong: two numbers, words for
    numbers ("3 dozen"), anything left over.

    Args:
      marks: see ``rrl.task.grade.marks``.
    """

    score_range = (0.0, 1.0)

    def __init__(self, *, marks: tuple[str, ...]) -> None:
        self._marks = Marks(marks)
        self.fingerprint = f"number-1 {marks}"

    def flaw(self, row: Row) -> str:
        return "" if number(row.answer) is not None else f"has answer {row.answer!r}, which is not one number"

    def grade(self, row: Row, response: str) -> Outcome:
        stated, gold = self._marks.last(response), number(row.answer)
        solved = stated is not None and gold is not None and number(stated) == gold
        return Outcome(float(solved), solved)

    def stated(self, response: str) -> int | None:
        return self._marks.first(response)

    def say(self, answer: str) -> str:
        return self._marks.say(answer)


def number(text: str) -> Fraction | None:
    """The one number that ``text`` is; None where it is none or more. "$1,234.50" -> 2469/2; "1 1/2 cups" -> 3/2."""
    plain = text.replace("\u2212", "-").replace("\\%", "%").replace("\\$", "$").replace("{,}", ",")
    plain = re.sub(r"\\[!,;: ]|\*\*|~", "", plain)
    plain = _WRAPPED.sub(r" \1", _FRACTION.sub(r"\1/\2", plain)).strip()
    if plain.startswith("$") and plain.endswith("$") and len(plain) > 1:
        plain = plain[1:-1].strip()
    match = _NUMBER.fullmatch(plain.rstrip(".").strip())
    if match is None or _QUANTITIES & set(match["unit"].lower().split()) or (match["sign"] and match["sign2"]):
        return None
    if match["den"] is not None and int(match["den"]) == 0:
        return None
    size = Fraction(match["num"].replace(",", "").rstrip(".")) / int(match["den"] or 1) + int(match["whole"] or 0)
    return -size if "-" in (match["sign"], match["sign2"]) else size
