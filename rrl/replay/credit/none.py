"""Prefixes learn nothing: the literal reading of the published method, prefix tokens are context only."""

from __future__ import annotations

from rrl.records import Attempt


class NoCredit:
    """Weight 0."""

    def __init__(self) -> None:
        return None

    def weight(self, attempt: Attempt, root_success: float, origin: str) -> float:  # noqa: ARG002
        return 0.0

    def token_divisor(self) -> float:
        return 1.0
