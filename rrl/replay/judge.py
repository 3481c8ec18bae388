"""All filters' opinion of one prefix, who it was that refused it, and what a person has to say about that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from rrl.metrics import CATALOGUE
from rrl.protocols import Filter
from rrl.records import Attempt, Prefix
from rrl.types import Metrics


class Ruling(NamedTuple):
    """The strictest verdict, why, and the name of the filter that spoke it ("" where all keep)."""

    action: str
    reason: str
    by: str


KEPT = Ruling("keep", "", "")
_STRICTNESS = ("approved", "flagged", "rejected")


@runtime_checkable
class Reviewer(Protocol):
    """What a filter is besides, when people decide in it: key -> "approved", "flagged" or "rejected", as last read."""

    def refresh(self) -> None: ...
    def decisions(self) -> Mapping[str, str]: ...


def judge(filters: Mapping[str, Filter], prefix: Prefix, attempt: Attempt) -> Ruling:
    """The first "drop" in the filters' own order, else the first "quarantine", else "keep".

    A quarantine asks for a person: where one has approved the prefix it is kept.

    Raises:
        ValueError: a filter said something else.
    """
    worst = KEPT
    for name, one in filters.items():
        action, reason = one.check(prefix, attempt)
        if action == "drop":
            return Ruling(action, reason, name)
        if action == "quarantine":
            worst = Ruling(action, reason, name) if worst is KEPT else worst
        elif action != "keep":
            raise ValueError(f"replay.filter.{name} said {action!r}; expected keep, drop or quarantine")
    if worst is not KEPT and decided(filters).get(prefix.key) == "approved":
        return KEPT
    return worst


def decided(filters: Mapping[str, Filter]) -> dict[str, str]:
    """What people decided, over all filters that ask them; the strictest decision counts."""
    found: dict[str, str] = {}
    for one in filters.values():
        if isinstance(one, Reviewer):
            said = one.decisions()
            both = {key: max(said[key], found[key], key=_STRICTNESS.index) for key in said.keys() & found.keys()}
            found = {**found, **said, **both}
    return found


def refusal_metrics(filters: Iterable[str], refused: Iterable[str]) -> Metrics:
    """replay/filter_<name> = how often each filter refused; names that nobody knows together as "other"."""
    metrics = {_name(name): 0.0 for name in filters}
    for name in refused:
        metrics[_name(name)] += 1.0
    return metrics


def _name(name: str) -> str:
    own = f"replay/filter_{name}"
    return own if own in CATALOGUE else "replay/filter_other"
