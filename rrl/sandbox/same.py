"""Is what a program sent back the value that was expected? Decided here, where the program has never been.

Walks by the expected value: a reply that is larger than it is unequal before anything is built from it, and a key is
looked up among those expected before it is stored, so hostile keys whose hashes collide cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from rrl.sandbox.values import NotPlain, Wire, decode, encode, size, tagged


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
    except (NotPlain, RecursionError):  # the second: nested as deeply as JSON allows
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
        return key in ("s", "z") and len(held) == len(expected) and len(set(_known(held, expected))) == len(expected)
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
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in held):
        return False
    found = dict(zip(_known([k for k, _ in held], expected), (v for _, v in held), strict=True))
    return len(found) == len(expected) and all(_same(expected[k], found[k], tolerance, alike) for k in expected)


def _known(keys: list[Wire], expected: Collection[Any]) -> list[Any]:
    """The keys themselves. Raises NotPlain at the first that is none of those expected."""
    largest = max((size(encode(key)) for key in expected), default=0)
    found = []
    for wire in keys:
        if size(wire) > largest:
            raise NotPlain("a key larger than all that are expected")
        key = decode(wire)
        try:
            if key not in expected:
                raise NotPlain("a key that is not expected")
        except TypeError as error:
            raise NotPlain("a key that cannot be one") from error
        found.append(key)
    return found
