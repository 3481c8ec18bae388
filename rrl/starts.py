"""Where rollouts begin: a problem and a maybe-empty prefix. A replayed prefix is only a longer prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One task instance: what is asked and how a response to it ends.

    id: unique within a run.  prompt: token ids, never empty.  answer: text that the task's scorer
    reads.  solution: a canonical right response, may be empty.  task: name of the task.
    difficulty: a label such as "easy" or "hard", used to split metrics.  max_response: tokens a
    response may have, a replayed prefix included.  stop: ids that end a response.  exact_length:
    reaching ``max_response`` ends the response properly instead of cutting it.
    """

    id: str
    prompt: Tokens
    answer: str
    solution: Tokens
    task: str
    difficulty: str
    max_response: int
    stop: Tokens
    exact_length: bool

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError(f"Problem.prompt of {self.id!r} is empty; expected at least one token")
        if self.max_response < 1:
            raise ValueError(f"Problem.max_response of {self.id!r} is {self.max_response}; expected >= 1")


def prefix_key(problem_id: str, tokens: Sequence[int]) -> str:
    """Stable 16-hex-digit name of a state: blake2b of the problem id and the prefix's token ids."""
    payload = problem_id.encode() + b"\x00" + np.asarray(tokens, dtype="<i8").tobytes()
    return hashlib.blake2b(payload, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where rollouts begin: a problem and a maybe-empty prefix (empty = fresh)."""

    problem: Problem
    prefix: Tokens = ()

    def __post_init__(self) -> None:
        if len(self.prefix) >= self.problem.max_response:
            raise ValueError(
                f"Start.prefix of {self.problem.id!r} has {len(self.prefix)} tokens; expected fewer than "
                f"max_response = {self.problem.max_response}, which counts the prefix"
            )

    @property
    def key(self) -> str:
        return prefix_key(self.problem.id, self.prefix)

    @property
    def replayed(self) -> bool:
        return bool(self.prefix)

    @property
    def context(self) -> Tokens:
        """Prompt and prefix: everything that stands before the first sampled token."""
        return self.problem.prompt + self.prefix
