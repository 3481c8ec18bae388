"""Nothing is remembered: plain PPO without the cost of a store that nobody reads."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.records import Attempt, Candidates, Prefix


class NoAdmission:
    """No proposals."""

    def __init__(self) -> None:
        return None

    def propose(
        self, attempt: Attempt, boundaries: Sequence[int], root: Candidates | None, step: int  # noqa: ARG002
    ) -> list[Prefix]:
        return []
