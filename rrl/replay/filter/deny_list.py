"""Prefixes whose text matches a pattern that must never be restarted from."""

from __future__ import annotations

import re
from typing import Literal

from rrl.protocols import Task, Verdict
from rrl.records import Attempt, Prefix
from rrl.types import plain


class DenyList:
    """The action where any pattern is found in the decoded prefix, else keep.

    Args:
        task: decodes.
        patterns: regular expressions, searched for anywhere; at least one.
        action: "drop", or "quarantine" for a person to look at.
    """

    def __init__(self, *, task: Task, patterns: list[str], action: Literal["drop", "quarantine"]) -> None:
        if not patterns:
            raise ValueError("replay.filter.deny_list.patterns is empty; expected at least one regular expression")
        try:
            self._patterns = [re.compile(pattern) for pattern in patterns]
        except re.error as error:
            raise ValueError(f"replay.filter.deny_list.patterns holds {error.pattern!r}; expected a regular "
                             f"expression: {error}") from error
        self._task, self._action = task, action

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        text = self._task.decode(plain(prefix.tokens))
        for pattern in self._patterns:
            if pattern.search(text):
                return Verdict(self._action, f"the text matches {pattern.pattern!r}")
        return Verdict("keep", "")
