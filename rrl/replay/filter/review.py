"""A person's decisions: rejected prefixes are dropped, and those not decided yet may wait."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rrl.protocols import Verdict
from rrl.records import Attempt, Prefix

DECISIONS_FILE = "review.jsonl"
"""Where ``rrl-review import`` writes, in the run's folder."""

_LOG = logging.getLogger(__name__)
_SHOWN = 200  # characters of a wrong line that an error repeats
_DECISIONS = ("approved", "rejected")


class Review:
    """Keep what is approved, drop what is rejected; ``undecided`` says what happens to the rest.

    Decisions are lines of JSON, {"key": "<16 hex digits>", "decision": "approved" | "rejected"}, the last line of a
    key counting. Keys name problem and tokens, so they hold across runs; ``rrl-review`` writes them out with the text.
    The file is read again whenever the store is re-scored: a stored state is then judged by what was decided since, and
    an approval also ends a quarantine that another filter asked for. A file that cannot be read when the run begins is
    refused; one that becomes unreadable later is said in the log, and what was known stays.

    Args:
        output_dir: the run's folder.
        decisions: path of the file; "" = review.jsonl in the run's folder, once it is there.
        undecided: "keep" (all but rejected) or "quarantine" (only approved).
    """

    def __init__(self, *, output_dir: Path, decisions: str, undecided: Literal["keep", "quarantine"]) -> None:
        self._path = Path(decisions) if decisions else output_dir / DECISIONS_FILE
        if decisions and not self._path.is_file():
            raise ValueError(f"replay.filter.review.decisions is {decisions!r}; expected a file, or '' for "
                             f"{DECISIONS_FILE} in the run's folder")
        self._read_at = self._stamp()
        self._decisions = read_decisions(self._path) if self._read_at else {}
        self._undecided = undecided

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        decision = self._decisions.get(prefix.key)
        if decision == "rejected":
            return Verdict("drop", "rejected in review")
        if decision is None and self._undecided == "quarantine":
            return Verdict("quarantine", "not reviewed yet")
        return Verdict("keep", "")

    def decisions(self) -> Mapping[str, str]:
        """Key -> "approved" or "rejected", as last read."""
        return self._decisions

    def refresh(self) -> None:
        """Read the file again where it has changed."""
        stamp = self._stamp()
        if stamp == self._read_at:
            return
        self._read_at = stamp
        try:
            self._decisions = read_decisions(self._path) if stamp else {}
        except ValueError as error:
            _LOG.warning("%s; the decisions read before it still hold", error)

    def _stamp(self) -> tuple[int, int] | None:
        """Changes when the file does; None where there is none."""
        if not self._path.is_file():
            return None
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size


def read_decisions(path: Path, *, undecided: bool = False) -> dict[str, str]:
    """Key -> decision, the last of each key.

    Args:
        path: JSONL.
        undecided: whether lines whose decision is "" are passed over, as in a file that is half reviewed.

    Raises:
        ValueError: a line is no decision, named by its number.
    """
    decisions: dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key, decision = row["key"], row["decision"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            shown = line.decode(errors="backslashreplace")
            shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
            raise ValueError(f"{path}, line {number}: expected JSON with key and decision, got {shown!r}") from error
        if undecided and decision == "":
            continue
        if not re.fullmatch("[0-9a-f]{16}", str(key)):
            raise ValueError(f"{path}, line {number}: key is {key!r}; expected 16 hex digits")
        if decision not in _DECISIONS:
            raise ValueError(f"{path}, line {number}: decision is {decision!r}; expected approved or rejected")
        decisions[str(key)] = decision
    return decisions
