"""A person's decisions: rejected prefixes are dropped, flagged ones wait, and those not decided yet may wait."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rrl.protocols import Verdict
from rrl.reading import json_of
from rrl.records import Attempt, Prefix

DECISIONS_FILE = "review.jsonl"
"""Where ``rrl-review import`` writes, in the run's folder."""

DECISIONS = ("approved", "flagged", "rejected")
"""What may be decided, the strictest last. Flagged: somebody else should look before it is replayed."""

_LOG = logging.getLogger(__name__)
_MOST_NAMED = 3  # bad lines that a warning spells out
_SHOWN = 80  # characters of a wrong line that it repeats


class Review:
    """Keep what is approved, drop what is rejected, quarantine what is flagged, and the rest as ``undecided`` says.

    Decisions are lines of JSON, {"key": "<16 hex digits>", "decision": "approved" | "rejected" | "flagged"}, the last
    line of a key counting. Keys name problem and tokens, so they hold across runs; ``rrl-review`` writes them out with
    the text. The file is read again at every step that finds it changed: a stored state is then judged by what was
    decided since, and an approval also ends a quarantine that another filter asked for. Lines that are no decision are
    named in one warning and passed over; the others hold, and so does what was known before. A decision that is taken
    back undoes nothing: approve a state to have it replayed again.

    Args:
        output_dir: the run's folder.
        decisions: path of the file; "" = review.jsonl in the run's folder, once it is there.
        undecided: "keep" (all but rejected and flagged) or "quarantine" (only approved).
    Raises:
        ValueError: a file that ``decisions`` names is not there, or one of its lines is no decision.
    """

    def __init__(self, *, output_dir: Path, decisions: str, undecided: Literal["keep", "quarantine"]) -> None:
        self._path = Path(decisions) if decisions else output_dir / DECISIONS_FILE
        if decisions and not self._path.is_file():
            raise ValueError(f"replay.filter.review.decisions is {decisions!r}; expected a file, or '' for "
                             f"{DECISIONS_FILE} in the run's folder")
        self._undecided = undecided
        self._read_at: tuple[int, int] | None = None
        self._decisions: dict[str, str] = {}
        if decisions:  # somebody asked for this very file: a mistake in it is told before anything is trained
            read_decisions(self._path)
        self.refresh()

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        decision = self._decisions.get(prefix.key)
        if decision == "rejected":
            return Verdict("drop", "rejected in review")
        if decision == "flagged":
            return Verdict("quarantine", "flagged in review")
        if decision is None and self._undecided == "quarantine":
            return Verdict("quarantine", "not reviewed yet")
        return Verdict("keep", "")

    def decisions(self) -> Mapping[str, str]:
        """Key -> "approved", "flagged" or "rejected", as last read."""
        return self._decisions

    def refresh(self) -> None:
        """Read the file again where it has changed."""
        stamp = self._stamp()
        if stamp == self._read_at:
            return
        try:
            found, complaints = _parsed(self._path) if stamp else ({}, [])
        except OSError as error:
            found, complaints = {}, [f"it cannot be read ({error})"]
        self._read_at = stamp
        self._decisions = self._decisions | found if complaints else found
        if complaints:
            more = len(complaints) - _MOST_NAMED
            _LOG.warning(
                "%s: %s%s. Passed over; %d decisions hold", self._path, "; ".join(complaints[:_MOST_NAMED]),
                f"; and {more} lines more" if more > 0 else "", len(self._decisions),
            )  # fmt: skip

    def _stamp(self) -> tuple[int, int] | None:
        """Changes when the file does; None where there is none."""
        if not self._path.is_file():
            return None
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size


def read_decisions(path: Path) -> dict[str, str]:
    """Key -> decision, the last of each key. Lines whose decision is "" are not decided yet and passed over.

    Raises:
        ValueError: a line is no decision, named by its number.
    """
    found, complaints = _parsed(path)
    if complaints:
        raise ValueError(f"{path}, {complaints[0]}")
    return found


def _parsed(path: Path) -> tuple[dict[str, str], list[str]]:
    """(key -> decision, what is wrong with the other lines). Raises OSError."""
    found: dict[str, str] = {}
    complaints: list[str] = []
    # By line feeds alone: a text may hold what Python takes for the end of a line (U+2028).
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json_of(line)
            key, decision = row["key"], row["decision"]
        except (ValueError, TypeError, KeyError):
            shown = line.decode(errors="backslashreplace")[:_SHOWN]
            complaints.append(f"line {number}: expected JSON with key and decision, got {shown!r}")
            continue
        if decision == "":
            continue
        if not re.fullmatch("[0-9a-f]{16}", str(key)):
            complaints.append(f"line {number}: key is {key!r}; expected 16 hex digits")
        elif decision not in DECISIONS:
            complaints.append(f"line {number}: decision is {decision!r}; expected {', '.join(DECISIONS)}")
        else:
            found[str(key)] = str(decision)
    return found, complaints
