"""Plain values as JSON: all that may cross from the process of a program to one that judges it. No pickle, no classes.

None, bool, str and small ints stand for themselves, a list is an array; the rest is an object of one key:
``{"i": "0x.."}`` a large int, ``{"f": hex}`` a float, ``{"c": [hex, hex]}`` a complex, ``{"b": hex}`` bytes,
``{"t": [..]}`` a tuple, ``{"s": [..]}`` a set, ``{"z": [..]}`` a frozenset, ``{"d": [[key, value], ..]}`` a dict,
``{"x": type}`` anything else, which equals nothing.

``encode`` may run beside hostile code and is trusted by nobody; ``parse`` and ``decode`` believe only this grammar.
"""

from __future__ import annotations

import json
from typing import Any

Wire = Any
"""A parsed JSON value of the grammar above; nobody has looked at it yet."""

_EXACT = 1 << 53
_DEEPEST = 100
_MANY = {"t": tuple, "s": set, "z": frozenset}


class NotPlain(ValueError):
    """Text that is no plain value."""


def encode(value: Any, depth: int = 0) -> Wire:
    """``value`` in the grammar. Subclasses (a Counter, a named tuple) become what they are made of."""
    if value is None or value is True or value is False:
        return value
    if depth > _DEEPEST:
        return {"x": "too deep"}
    if isinstance(value, int):
        number = int.__index__(value)
        return number if -_EXACT < number < _EXACT else {"i": hex(number)}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return {"f": float.hex(value)}
    if isinstance(value, complex):
        return {"c": [float.hex(value.real), float.hex(value.imag)]}
    if isinstance(value, (bytes, bytearray)):
        return {"b": bytes(value).hex()}
    if isinstance(value, list):
        return [encode(item, depth + 1) for item in list.__iter__(value)]
    if isinstance(value, dict):
        return {"d": [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in dict.items(value)]}
    for key, kind in _MANY.items():
        if isinstance(value, kind):
            return {key: [encode(item, depth + 1) for item in kind.__iter__(value)]}
    scalar_of = getattr(value, "item", None)  # of an array library's number
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and scalar_of is not None:
        return encode(scalar_of(), depth + 1)
    return {"x": type(value).__name__[:80]}


def parse(line: bytes) -> Any:
    """One line of JSON, without NaN, without floats, without numbers of thousands of digits and with at most one key in
    an object, so that no dict with many keys that collide is ever built.

    Raises:
      NotPlain: it is none.
    """
    try:
        return json.loads(
            line.decode("utf-8", "strict"), parse_float=_refuse, parse_constant=_refuse, object_pairs_hook=_one_pair
        )
    except (ValueError, RecursionError) as error:
        raise NotPlain(f"not a line of plain values: {type(error).__name__}") from error


def decode(wire: Wire, depth: int = 0) -> Any:
    """The value itself, of exact builtin types.

    Raises:
      NotPlain: it is not in the grammar, or stands for something that is no plain value.
    """
    if wire is None or isinstance(wire, (bool, int, str)):
        return wire
    if depth > _DEEPEST:
        raise NotPlain("nested too deeply")
    if isinstance(wire, list):
        return [decode(item, depth + 1) for item in wire]
    key, held = tagged(wire)
    try:
        if key == "d":
            return {decode(k, depth + 1): decode(v, depth + 1) for k, v in held}
        if key in _MANY:
            return _MANY[key](decode(item, depth + 1) for item in held)
        return scalar(key, held)
    except (TypeError, ValueError, OverflowError) as error:  # unhashable, not a pair, not hexadecimal
        raise NotPlain(f"{key!r} holds what it cannot") from error


def size(wire: Wire) -> int:
    """Items in ``wire`` and in what it holds; what decoding it may cost is a function of this alone."""
    if isinstance(wire, dict):
        return 1 + sum(size(held) for held in wire.values())
    return 1 + sum(size(item) for item in wire) if isinstance(wire, list) else 1


def tagged(wire: Wire) -> tuple[str, Any]:
    """Key and content of an object of one key. Raises NotPlain."""
    if not isinstance(wire, dict) or len(wire) != 1:
        raise NotPlain("an object without its one key")
    [(key, held)] = wire.items()
    if not isinstance(held, list if key in (*_MANY, "d", "c") else str):
        raise NotPlain(f"{key!r} holds a {type(held).__name__}")
    return key, held


def scalar(key: str, held: Any) -> int | float | complex | bytes:
    """A tagged number or bytes. Raises NotPlain, ValueError, TypeError."""
    if key == "i":
        return int(held, 16)
    if key == "f":
        return float.fromhex(held)
    if key == "c":
        real, imaginary = held
        return complex(float.fromhex(real), float.fromhex(imaginary))
    if key == "b":
        return bytes.fromhex(held)
    raise NotPlain(f"{key!r} is no plain value")


def _one_pair(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) != 1:
        raise NotPlain(f"an object of {len(pairs)} keys")
    return dict(pairs)


def _refuse(text: str) -> Any:
    raise NotPlain(f"{text[:20]!r} is no plain number")
