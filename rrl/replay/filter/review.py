"""A person's decisions: rejected prefixes are dropped, and those not decided yet may wait."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from rrl.protocols import Verdict
from rrl.records import Attempt, Prefix

_DECISIONS = ("approved", "rejected")


class Review:
    """Keep what is approved, drop what is rejected; ``undecided`` says what happens to the rest.

    Decisions are lines of JSON, {"key": "<16 hex digits>", "decision": "approved" | "rejected"}, the last line of a
    key counting. Keys name problem and tokens, so they hold across runs; the store's rows show them. The file is read
    once, when the run begins: a state that was quarantined before stays so.

    Args:
        decisions: path of the file; "" where nothing is decided yet.
        undecided: "keep" (all but rejected) or "quarantine" (only approved).
    """

    def __init__(self, *, decisions: str, undecided: Literal["keep", "quarantine"]) -> None:
        self._decisions = _read(Path(decisions)) if decisions else {}
        self._undecided = undecided

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        decision = self._decisions.get(prefix.key)
        if decision == "rejected":
            return Verdict("drop", "rejected in review")
        if decision is None and self._undecided == "quarantine":
            return Verdict("quarantine", "not reviewed yet")
        return Verdict("keep", "")


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"replay.filter.review.decisions is {str(path)!r}; expected a file, or '' for none")
    decisions: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key, decision = row["key"], row["decision"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: expected JSON with key and decision, got {line!r}") from error
        if decision not in _DECISIONS:
            raise ValueError(f"{path}, line {number}: decision is {decision!r}; expected approved or rejected")
        decisions[str(key)] = decision
    return decisions
