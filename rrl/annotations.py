"""Does a config value fit a constructor's annotation? Said in one line where it does not."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def is_target(value: Any) -> bool:
    """Whether a config node describes an object."""
    return isinstance(value, Mapping) and "_target_" in value


def fit(value: Any, hint: Any, key: str) -> Any:
    """``value`` as ``hint`` wants it (int -> float, list -> tuple), or ValueError naming ``key``."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in inner:
            try:
                return fit(value, option, key)
            except ValueError:
                continue
    elif origin is typing.Literal and value in inner:
        return value
    elif hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:  # YAML 1.1 reads 1e-5 without a dot as text
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isnan(number):  # which passes every comparison that a constructor refuses by
            return number
    elif hint in (int, str, bool) and type(value) is hint and (hint is not int or abs(value) < 2**63):
        return value
    elif hint is type(None) and value is None:
        return None
    elif hint is Path and isinstance(value, str):
        return Path(value)
    elif (origin or hint) in (list, tuple, Sequence) and isinstance(value, (list, tuple)):
        item = inner[0] if inner else Any
        items = [fit(v, item, f"{key}[{i}]") for i, v in enumerate(value)]
        return items if (origin or hint) is list else tuple(items)
    elif (origin or hint) in (dict, Mapping) and isinstance(value, Mapping):
        return {k: fit(v, inner[1] if inner else Any, f"{key}.{k}") for k, v in value.items()}
    elif hint is Any or (not _is_plain(hint) and is_target(value)):
        return value
    raise ValueError(f"{key} is {value!r}; expected {_spell(hint)}")


def _is_plain(hint: Any) -> bool:
    return hint in (int, float, str, bool, type(None), Path, list, tuple, dict)


def _spell(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of: " + ", ".join(repr(a) for a in typing.get_args(hint))
    words = {float: "a number", int: "an integer", bool: "true or false", str: "text", Path: "a path"}
    if hint in words:
        return words[hint]
    return getattr(hint, "__name__", str(hint)) if not typing.get_args(hint) else str(hint).replace("typing.", "")
