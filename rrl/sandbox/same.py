"""Is what a program sent back the value that was expected? Decided here, where the program has never been.

Walks by the expected value: a reply that is larger than it is unequal before anything is built from it, so a hostile
dict whose keys collide costs nothing.
"""

from __future__ import annotations

import math
from typing import Any

from rrl.sandbox.values import NotPlain, Wire, decode, tagged


def same(expected: Any, wire: Wire, *, tolerance: float, sequences_alike: bool) -> bool:
    """Python's ``==`` on plain values: 1 == 1.0 == True, (1,) != [1].

    Args:
      expected: of builtin types.
      wire: as parsed; never trusted.
      tolerance: relative and absolute, where a float is expected; 0 = exact.
      sequences_alike: a tuple equals a list of the same items, as data without tuples needs it.
    """
    try:
        return _same(expected, wire, tolerance, sequences_alike)
    except NotPlain:
        return False


def _same(expected: Any, wire: Wire, tolerance: float, alike: bool) -> bool:
    if isinstance(expected, (list, tuple)):
        items = _sequence(wire, alike, tuple_wanted=isinstance(expected, tuple))
        if items is None or len(items) != len(expected):
            return False
        return all(_same(e, item, tolerance, alike) for e, item in zip(expected, items, strict=True))
    if isinstance(expected, (set, frozenset)):
        if not isinstance(wire, dict):
            return False
        key, held = tagged(wire)
        return key in ("s", "z") and len(held) == len(expected) and bool(decode(wire) == expected)
    if isinstance(expected, dict):
        return _same_dict(expected, wire, tolerance, alike)
    if isinstance(wire, list) or (isinstance(wire, dict) and tagged(wire)[0] in "tszd"):
        return False
    value = decode(wire)
    if isinstance(expected, float) and isinstance(value, (int, float)):
        try:
            return bool(value == expected) or math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)
        except OverflowError:  # an int beyond all floats
            return False
    return bool(value == expected)


def _sequence(wire: Wire, alike: bool, *, tuple_wanted: bool) -> list[Wire] | None:
    if isinstance(wire, list):
        return wire if alike or not tuple_wanted else None
    if not isinstance(wire, dict):
        return None
    key, held = tagged(wire)
    return held if key == "t" and (alike or tuple_wanted) else None


def _same_dict(expected: dict[Any, Any], wire: Wire, tolerance: float, alike: bool) -> bool:
    if not isinstance(wire, dict):
        return False
    key, held = tagged(wire)
    if key != "d" or len(held) != len(expected):
        return False
    found: dict[Any, Wire] = {}
    for pair in held:
        if not isinstance(pair, list) or len(pair) != 2:
            return False
        try:
            found[decode(pair[0])] = pair[1]
        except TypeError as error:
            raise NotPlain("a key that cannot be one") from error
    return found.keys() == expected.keys() and all(_same(expected[k], found[k], tolerance, alike) for k in expected)
