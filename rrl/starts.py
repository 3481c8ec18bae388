"""Where rollouts begin: a problem and a maybe-empty prefix. A replayed prefix is only a longer prompt.

Inside a response an environment may speak between the policy's own tokens: a test's status, a tool's
output. Such *given* tokens are context only. In a tuple of response tokens the given token ``id`` is
written ``-1 - id``, so that stored prefixes keep the two apart without a second list; see ``given``,
``plain`` and ``sampled``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Tokens = tuple[int, ...]


def given(tokens: Sequence[int]) -> Tokens:
    """Mark ids as spoken by the environment. (3, 0) -> (-4, -1)."""
    return tuple(-1 - t for t in tokens)


def plain(tokens: Tokens) -> Tokens:
    """The ids as a network reads them, marks removed. (7, -4) -> (7, 3)."""
    return tokens if min(tokens, default=0) >= 0 else tuple(t if t >= 0 else -1 - t for t in tokens)


def sampled(tokens: Tokens) -> Tokens:
    """The policy's own tokens, what was given left out. (7, -4, 5) -> (7, 5)."""
    return tokens if min(tokens, default=0) >= 0 else tuple(t for t in tokens if t >= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One task instance: what is asked and how a response to it ends.

    id: unique within a run.  prompt: token ids, never empty.  answer: text that the task's scorer
    reads.  solution: a canonical right response without given tokens, may be empty.  task: name of the task.
    difficulty: a label such as "easy" or "hard", used to split metrics.  max_response: sampled tokens
    a response may have, those of a replayed prefix included.  stop: ids that end a response.  exact_length:
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
    return key_of_packed(problem_id, packed(tokens))


def packed(tokens: Sequence[int]) -> bytes:
    """Token ids as little-endian 64-bit words; most of what a key costs, and what a store keeps them from."""
    return np.asarray(tokens, dtype="<i8").tobytes()


def key_of_packed(problem_id: str, words: bytes) -> str:
    """``prefix_key`` of tokens that are packed already."""
    return hashlib.blake2b(problem_id.encode() + b"\x00" + words, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where rollouts begin: a problem and a maybe-empty prefix (empty = fresh; given tokens marked).

    recalled: "" where what follows is sampled now. Else it is a whole stored answer: its advantage is found among the
    start's fresh rows ("joined"), or among other stored answers alone ("apart").
    """

    problem: Problem
    prefix: Tokens = ()
    recalled: Literal["", "joined", "apart"] = ""

    def __post_init__(self) -> None:
        if self.recalled and self.prefix:
            raise ValueError(f"Start.recalled of {self.problem.id!r} has a prefix; expected a whole answer alone")
        if len(self.prefix) >= self.problem.max_response and self.room < 1:
            raise ValueError(
                f"Start.prefix of {self.problem.id!r} has {len(sampled(self.prefix))} tokens; expected fewer than "
                f"max_response = {self.problem.max_response}, which counts the prefix"
            )

    @property
    def key(self) -> str:
        return prefix_key(self.problem.id, self.prefix)

    @property
    def replayed(self) -> bool:
        return bool(self.prefix)

    @property
    def group(self) -> str:
        """Names the rows whose rewards are compared with each other: those of one state, recalled-apart ones alone."""
        return self.key + (self.recalled if self.recalled == "apart" else "")

    @property
    def stream(self) -> int:
        """Which advantages may be whitened together: 0 fresh and joined to fresh, 1 replayed, 2 recalled apart."""
        return 2 if self.recalled == "apart" else int(self.replayed)

    @property
    def context(self) -> Tokens:
        """Prompt and prefix as a network reads them: everything that stands before the first sampled token."""
        return self.problem.prompt + plain(self.prefix)

    @property
    def room(self) -> int:
        """How many tokens may still be sampled from here."""
        return self.problem.max_response - len(sampled(self.prefix))
