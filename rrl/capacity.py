"""Sizes that no machine has room for: one line with what was asked and which keys to look at, not a traceback.

torch, numpy and Python each refuse in their own words; they are known by these, and anything else passes. Linux grants
memory that it does not have and kills whoever touches it, so what is known before is compared with what is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_REFUSALS = (  # torch's and numpy's words that come as RuntimeError, ValueError or TypeError
    "can't allocate memory", "out of memory", "storage size calculation overflowed", "overflow when unpacking",
    "array is too big", "maximum allowed dimension exceeded", "out of bounds for int64",
)  # fmt: skip
_BYTES = re.compile(r"([\d.,]+) ?(bytes|[KMGTPE]iB)")
_MOST_SHOWN = 4
_CGROUP = Path("/sys/fs/cgroup/memory.max")


class TooLarge(ValueError):
    """Something cannot be built or run in the memory of this machine."""


@contextmanager
def enough(what: str, sizes: Mapping[str, Any]) -> Iterator[None]:
    """Raise TooLarge in place of an error that means that memory, or an index, ends.

    Args:
      what: that is made meanwhile, for the message.
      sizes: key -> value; the largest integers among them are named.
    """
    try:
        yield
    except TooLarge:  # said already, by what is inside
        raise
    except (MemoryError, OverflowError, RuntimeError, ValueError, TypeError) as error:
        if not _is_refusal(error):
            raise
        asked = _BYTES.search(str(error))
        room = f" ({asked[0]} asked at once; this machine has {_spelt(memory_bytes())})" if asked else ""
        raise TooLarge(f"{what} is too large for this machine{room}; {_largest(sizes)}: "
                       f"{' '.join(str(error).split())[:160] or type(error).__name__}") from error


def check_room(num_bytes: float, what: str, sizes: Mapping[str, Any]) -> None:
    """Refuse what would need more memory than there is. Raises TooLarge.

    Args:
      num_bytes: that will be touched at the least.
    """
    if num_bytes > memory_bytes():
        raise TooLarge(f"{what} needs at least {_spelt(num_bytes)}; this machine has {_spelt(memory_bytes())}; "
                       f"{_largest(sizes)}")


def memory_bytes() -> float:
    """Memory of this machine, or of this process's group where that has less."""
    whole = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limit = _CGROUP.read_text().strip() if _CGROUP.is_file() else ""
    return min(whole, float(limit)) if limit.isdigit() else whole


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, (MemoryError, OverflowError)):
        return True
    return any(words in str(error).lower() for words in _REFUSALS)


def _largest(sizes: Mapping[str, Any]) -> str:
    found = [(value, key) for key, value in _integers("", sizes) if value > 1]
    shown = ", ".join(f"{key}={value}" for value, key in sorted(found, key=lambda f: -f[0])[:_MOST_SHOWN])
    return f"its largest numbers are {shown}" if shown else "it has no large numbers"


def _integers(key: str, node: Any) -> Iterator[tuple[str, int]]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from _integers(f"{key}.{name}".lstrip("."), child)
    elif isinstance(node, int) and not isinstance(node, bool):
        yield key, node


def _spelt(num_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:,.4g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.4g} TiB"
