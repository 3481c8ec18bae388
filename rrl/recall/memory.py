"""What every recall remembers with: whole answers by problem, the newest last, equal on all ranks.

An answer keeps the log-probs that it was sampled with, so that its ratio is one to the policy that gave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rrl.ranks import Ranks
from rrl.types import Rollouts, Scored, Start, Tokens, concat_rollouts, sampled, sequences_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One whole response to a bare prompt, as it was sampled.

    problem: its id.  tokens: given ones marked.  logprob/entropy: of the sampling distribution at each sampled token,
    nats, float32.  step: when it was sampled.
    """

    problem: str
    tokens: Tokens
    logprob: np.ndarray
    entropy: np.ndarray
    score: float
    solved: bool
    ended: bool
    step: int


class Memory:
    """The newest ``capacity`` answers of each problem; one of two equal ones where ``distinct``, the newer."""

    def __init__(self, *, capacity: int, distinct: bool) -> None:
        self._capacity, self._distinct = capacity, distinct
        self._answers: dict[str, list[Answer]] = {}

    def __len__(self) -> int:
        return sum(len(answers) for answers in self._answers.values())

    @property
    def problems(self) -> list[str]:
        """Ids of the problems that have answers, sorted."""
        return sorted(self._answers)

    def of(self, problem: str) -> list[Answer]:
        """The problem's answers, oldest first."""
        return self._answers.get(problem, [])

    def add(self, answers: Sequence[Answer]) -> None:
        """Take in a step's answers. They are sorted first: the order of rows, and with it of ranks, cannot matter."""
        for answer in sorted(answers, key=lambda a: (a.problem, a.tokens, a.logprob.tolist())):
            kept = self._answers.setdefault(answer.problem, [])
            if self._distinct:
                kept[:] = [a for a in kept if a.tokens != answer.tokens]
            kept.append(answer)
            del kept[: -self._capacity]

    def forget(self, problem: str) -> None:
        """Drop all answers of a problem."""
        self._answers.pop(problem, None)

    def state_dict(self) -> dict[str, Any]:
        """Columns, an entry an answer, and the tokens of all end to end."""
        rows = [a for problem in self.problems for a in self._answers[problem]]
        return {
            "problem": [a.problem for a in rows],
            "lengths": np.array([len(a.tokens) for a in rows], dtype=np.int64),
            "tokens": np.array([t for a in rows for t in a.tokens], dtype=np.int64),
            "logprob": np.concatenate([np.zeros(0, np.float32), *(a.logprob for a in rows)]),
            "entropy": np.concatenate([np.zeros(0, np.float32), *(a.entropy for a in rows)]),
            "score": np.array([a.score for a in rows], dtype=np.float64),
            "solved": np.array([a.solved for a in rows], dtype=bool),
            "ended": np.array([a.ended for a in rows], dtype=bool),
            "step": np.array([a.step for a in rows], dtype=np.int64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self._answers = {}
        first = acted = 0
        columns = zip(*(state[k] for k in ("problem", "lengths", "score", "solved", "ended", "step")), strict=True)
        for problem, length, score, solved, ended, step in columns:
            tokens = tuple(int(t) for t in state["tokens"][first : first + length])
            actions = slice(acted, acted + len(sampled(tokens)))
            first, acted = first + int(length), actions.stop
            self._answers.setdefault(problem, []).append(Answer(
                problem=problem, tokens=tokens, logprob=state["logprob"][actions], entropy=state["entropy"][actions],
                score=float(score), solved=bool(solved), ended=bool(ended), step=int(step),
            ))  # fmt: skip


def answers_of(scored: Scored, step: int, ranks: Ranks) -> list[Answer]:
    """All ranks' rows that began from a bare prompt: the log-probs of a replayed prefix are not known."""
    rollouts, sequences = scored.rollouts, scored.rollouts.sequences
    offsets, tokens = sequences.offsets.tolist(), sequences.all_tokens()
    mine = []
    for row, (first, last) in enumerate(zip(offsets, offsets[1:], strict=False)):
        start = sequences.start_of(row)
        if start.replayed:
            continue
        mine.append(Answer(
            problem=start.problem.id, tokens=tokens[row],
            logprob=rollouts.behavior_logprob[first:last].numpy().copy(),
            entropy=rollouts.behavior_entropy[first:last].numpy().copy(),
            score=float(scored.score[row]), solved=bool(scored.solved[row]), ended=bool(rollouts.ended[row]), step=step,
        ))  # fmt: skip
    return ranks.gather(mine)


def appended(rollouts: Rollouts, answers: Sequence[tuple[Start, Answer]]) -> Rollouts:
    """``rollouts`` and behind them a row for each (recalled start, answer); the very object where there is none."""
    if not answers:
        return rollouts
    recalled = Rollouts(
        sequences=sequences_of([(start, answer.tokens) for start, answer in answers]),
        behavior_logprob=torch.from_numpy(np.concatenate([a.logprob for _, a in answers])),
        behavior_entropy=torch.from_numpy(np.concatenate([a.entropy for _, a in answers])),
        ended=torch.tensor([a.ended for _, a in answers], dtype=torch.bool),
    )
    return concat_rollouts([rollouts, recalled])
