"""The task's own score, as a reward on the last sampled token."""

from __future__ import annotations

import logging
import math
import os
from typing import Any

import numpy as np
import torch

from rrl.deadline import TimeLimit, watched, within
from rrl.protocols import Outcome, ScoresAhead, Task
from rrl.types import Problem, Rollouts, Scored, Tokens

log = logging.getLogger(__name__)

_ROUNDING = 1e-6  # of the range: a mean of float32 numbers may miss its bound by that
_MOST_CHARACTERS = 300  # of an error in the log; some hold a whole response


class TaskReward:
    """Scores the whole response (prefix and continuation, given tokens marked); every other token's reward is 0.

    A row whose scorer raises (``SystemExit`` too: a scorer does not end the run), takes longer than ``timeout_s``, or
    gives what is no number in the task's ``score_range`` and no yes or no, is left out together with its group (all
    rows of the same start): half a group would have another baseline, and a silent 0 would teach that the answer was
    wrong. Each is logged, with a traceback where an error of that kind is the first; ``dropped`` counts the rows left
    out by the last call.
    """

    def __init__(self, *, task: Task, timeout_s: float) -> None:
        """See conf/reward/task.yaml. Raises ValueError for a limit that is not positive."""
        if not timeout_s > 0.0:
            raise ValueError(f"reward.timeout_s is {timeout_s}; expected > 0 (.inf = no limit)")
        self._task, self._timeout_s, self._score_range = task, timeout_s, task.score_range
        self._told: set[type[BaseException]] = set()
        self.dropped = 0

    def score(self, rollouts: Rollouts) -> Scored:
        """Scored rows in the order given, less those that were dropped."""
        sequences = rollouts.sequences
        outcomes = self._outcomes(rollouts)
        groups = [sequences.starts[i].key for i in sequences.start_index.tolist()]
        failed = {group for group, outcome in zip(groups, outcomes, strict=True) if outcome is None}
        kept = [i for i, group in enumerate(groups) if group not in failed]
        self.dropped = len(groups) - len(kept)
        if self.dropped:
            rollouts = rollouts.rows(torch.tensor(kept, dtype=torch.int64))

        verdicts = [o for i in kept if (o := outcomes[i]) is not None]
        score = torch.tensor([v.score for v in verdicts], dtype=torch.float32)
        reward = torch.zeros(len(rollouts.sequences.actions), dtype=torch.float32)
        reward[rollouts.sequences.offsets[1:] - 1] = score
        solved = torch.tensor([v.solved for v in verdicts], dtype=torch.bool)
        return Scored(rollouts=rollouts, score=score, solved=solved, reward=reward)

    def _outcomes(self, rollouts: Rollouts) -> list[Outcome | None]:
        sequences = rollouts.sequences
        outcomes: list[Outcome | None] = []
        tokens, starts = sequences.all_tokens(), [sequences.starts[s] for s in sequences.start_index.tolist()]
        if isinstance(self._task, ScoresAhead):
            self._task.ahead([(start.problem, start.prefix + tokens[i]) for i, start in enumerate(starts)])
        with watched(self._timeout_s) as wind:
            for i, start in enumerate(starts):
                wind()
                outcomes.append(self._outcome(start.problem, start.prefix + tokens[i]))
        return outcomes

    def _outcome(self, problem: Problem, response: Tokens) -> Outcome | None:
        me = os.getpid()
        try:
            with within(self._timeout_s):
                return checked(self._task.score(problem, response), self._score_range)
        except KeyboardInterrupt:  # a person's
            raise
        except BaseException as error:  # noqa: BLE001 - a scorer is the user's code and may raise anything
            self._tell(problem, error)
            return None
        finally:
            if os.getpid() != me:  # a fork that the scorer forgot would go on as a second trainer in this run's folder
                os._exit(1)

    def _tell(self, problem: Problem, error: BaseException) -> None:
        """One line; the first of a kind of error with its traceback, for thousands may follow."""
        plain = isinstance(error, (TimeLimit, BadOutcome))
        first = not plain and type(error) not in self._told
        self._told.add(type(error))
        why = str(error) if plain else f"{type(error).__name__}: {error}"
        log.error("scoring a response to %r failed (%s); its group is left out", problem.id,
                  why[:_MOST_CHARACTERS], exc_info=error if first else None)  # fmt: skip


class BadOutcome(ValueError):
    """A scorer gave something else than a number in the task's range and a yes or no."""


def checked(outcome: Any, score_range: tuple[float, float]) -> Outcome:
    """The outcome as plain numbers.

    Args:
      outcome: what a scorer gave.
      score_range: the task's; a critic, success and filters are scaled by it, so that a score outside is none.
    Raises:
      BadOutcome: text, None, NaN and other things that are no verdict, and scores out of range.
    """
    (low, high), usable = score_range, False
    try:
        score, solved = outcome
        if not isinstance(score, (str, bytes)) and isinstance(solved, (bool, np.bool_)):
            slack = _ROUNDING * (high - low)
            usable = math.isfinite(score) and low - slack <= score <= high + slack
    except (TypeError, ValueError, OverflowError):  # neither a pair nor numbers, or an integer that no float holds
        usable = False
    if not usable:
        raise BadOutcome(f"it is {str(outcome)[:80]!r}; expected Outcome(a number in task.score_range "
                         f"[{low:g}, {high:g}], True or False)")
    return Outcome(float(score), bool(solved))
