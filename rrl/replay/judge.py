"""All filters' opinion of one prefix."""

from __future__ import annotations

from collections.abc import Mapping

from rrl.protocols import Filter, Verdict
from rrl.records import Attempt, Prefix

KEPT = Verdict("keep", "")


def judge(filters: Mapping[str, Filter], prefix: Prefix, attempt: Attempt) -> Verdict:
    """The strictest verdict: the first "drop", else the first "quarantine", else "keep".

    Raises:
        ValueError: a filter said something else.
    """
    worst = KEPT
    for name, one in filters.items():
        verdict = one.check(prefix, attempt)
        if verdict.action == "drop":
            return verdict
        if verdict.action == "quarantine":
            worst = verdict if worst is KEPT else worst
        elif verdict.action != "keep":
            raise ValueError(f"replay.filter.{name} said {verdict.action!r}; expected keep, drop or quarantine")
    return worst
