"""A host's finished rows as plain numbers, and the tensors that a value estimator of ours wants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rrl.types import Rollouts, Scored, Start, Tokens, sequences_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of one start.

    tokens: sampled after ``start.prefix``.  score: the host's reward.  logprobs: of each token as it was sampled,
    nats; None where the host does not say.  values: expected return before each token, by the host's critic; None
    where it has none.
    """

    start: Start
    tokens: Tokens
    score: float
    logprobs: tuple[float, ...] | None = None
    values: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        name = self.start.problem.id
        if not self.tokens:
            raise ValueError(f"a row of problem {name!r} has no sampled token; expected at least one")
        if not math.isfinite(self.score):
            raise ValueError(f"the reward of a row of problem {name!r} is {self.score}; expected a finite number")
        for field, numbers in (("logprobs", self.logprobs), ("values", self.values)):
            if numbers is not None and len(numbers) != len(self.tokens):
                raise ValueError(f"{field} of a row of problem {name!r} are {len(numbers)}; expected one for each of "
                                 f"its {len(self.tokens)} tokens")

    @property
    def ended(self) -> bool:
        """False where the length limit cut it."""
        problem = self.start.problem
        full = len(self.start.prefix) + len(self.tokens) >= problem.max_response
        return self.tokens[-1] in problem.stop or (problem.exact_length and full)

    @property
    def surprisal(self) -> np.ndarray:
        """-log p of each token: one sample of the entropy there, unbiased; 0 where the host does not say."""
        if self.logprobs is None:
            return np.zeros(len(self.tokens), dtype=np.float32)
        return -np.asarray(self.logprobs, dtype=np.float32)


def scored_of(rows: Sequence[Row], solved_at: float) -> Scored:
    """The rows as our stages hold them: the score is the reward of the last token."""
    sequences = sequences_of([(row.start, row.tokens) for row in rows])
    score = torch.tensor([row.score for row in rows], dtype=torch.float32)
    reward = torch.zeros(len(sequences.actions))
    reward[sequences.offsets[1:] - 1] = score
    surprisal = torch.from_numpy(np.concatenate([row.surprisal for row in rows]))
    rollouts = Rollouts(
        sequences=sequences, behavior_logprob=-surprisal, behavior_entropy=surprisal,
        ended=torch.tensor([row.ended for row in rows]),
    )  # fmt: skip
    return Scored(rollouts=rollouts, score=score, solved=score >= solved_at, reward=reward)


def agreed(said: Sequence[tuple[str, list[Row]]]) -> list[Row]:
    """All processes' rows in rank order.

    Args:
      said: each process's (``told`` before these rows, its rows).
    Raises:
      ValueError: the processes were told different things so far, and would replay different states.
    """
    if len({told for told, _ in said}) > 1:
        raise ValueError(
            f"the {len(said)} processes disagree on what replay was told so far "
            f"({', '.join(f'rank {rank}: {told}' for rank, (told, _) in enumerate(said))}); expected the same seed, "
            "replay options and checkpoint on all of them"
        )
    return [row for _, rows in said for row in rows]
