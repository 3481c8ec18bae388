"""The task's own score, as a reward on the last sampled token."""

from __future__ import annotations

import logging
import math

import torch

from rrl.protocols import Outcome, ScoresAhead, Task
from rrl.types import Rollouts, Scored

log = logging.getLogger(__name__)


class TaskReward:
    """Scores the whole response (prefix and continuation, given tokens marked); every other token's reward is 0.

    A row whose scorer raises, or gives a number that is not finite, is left out together with its
    group (all rows of the same start): half a group would have another baseline, and a silent 0
    would teach that the answer was wrong. ``dropped`` counts the rows left out by the last call.
    """

    def __init__(self, *, task: Task) -> None:
        self._task = task
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
                outcome = self._task.score(start.problem, response)
            except Exception:  # a scorer is the user's code and may raise anything
                log.exception("scoring a response to %r failed; its group is left out", start.problem.id)
                outcomes.append(None)
                continue
            if not math.isfinite(outcome.score):
                log.error("a response to %r scored %r; its group is left out", start.problem.id, outcome.score)
                outcomes.append(None)
                continue
            outcomes.append(outcome)
        return outcomes
