"""The task's own score, as a reward on the last sampled token."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import torch

from rrl.deadline import TimeLimit, within
from rrl.protocols import Outcome, ScoresAhead, Task
from rrl.types import Rollouts, Scored

log = logging.getLogger(__name__)


class TaskReward:
    """Scores the whole response (prefix and continuation, given tokens marked); every other token's reward is 0.

    A row whose scorer raises, takes longer than ``timeout_s``, or gives what is no finite number and no yes or no, is
    left out together with its group (all rows of the same start): half a group would have another baseline, and a
    silent 0 would teach that the answer was wrong. Each is logged; ``dropped`` counts the rows left out by the last
    call.
    """

    def __init__(self, *, task: Task, timeout_s: float) -> None:
        """See conf/reward/task.yaml. Raises ValueError for a limit that is not positive."""
        if not timeout_s > 0.0:
            raise ValueError(f"reward.timeout_s is {timeout_s}; expected > 0 (.inf = no limit)")
        self._task, self._timeout_s = task, timeout_s
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
        for i, start in enumerate(starts):
            response = start.prefix + tokens[i]
            try:
                with within(self._timeout_s):
                    outcomes.append(checked(self._task.score(start.problem, response)))
            except (Exception, TimeLimit) as error:  # a scorer is the user's code and may raise anything
                shown = error if isinstance(error, (TimeLimit, BadOutcome)) else None  # the others with their traceback
                log.error("scoring a response to %r failed%s; its group is left out", start.problem.id,
                          f" ({error})" if shown else "", exc_info=None if shown else error)  # fmt: skip
                outcomes.append(None)
        return outcomes


class BadOutcome(ValueError):
    """A scorer gave something else than a finite number and a yes or no."""


def checked(outcome: Any) -> Outcome:
    """The outcome as plain numbers. Raises BadOutcome for text, None, NaN and other things that are no verdict."""
    try:
        score, solved = outcome
        usable = not isinstance(score, (str, bytes)) and math.isfinite(score) and isinstance(solved, (bool, np.bool_))
    except (TypeError, ValueError):  # neither a pair nor numbers
        usable = False
    if not usable:
        raise BadOutcome(f"it is {str(outcome)[:80]!r}; expected Outcome(a finite number, True or False)")
    return Outcome(float(score), bool(solved))
