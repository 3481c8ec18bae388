"""Four rows of different lengths, flat as ours and padded as the peers want them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from rrl.types import Estimated, Start
from tests.unit.learner.tabular import estimated_of, problem

LENGTHS = [5, 1, 8, 3]
LONGEST = 8
NUM_TOKENS = sum(LENGTHS)
MASK = (torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]).long()


class Rows(NamedTuple):
    """ours: one advantage a row.  logprob: of the policy that learns, wants a gradient.  old: of the one that sampled.
    advantage: [4], float64 numbers that float32 can hold, as ours are."""

    ours: Estimated
    logprob: Tensor
    old: Tensor
    advantage: Tensor


def peer_rows(seed: int, *, moved: float = 0.5) -> Rows:
    """Random log-probs and advantages; ``moved``: spread of log pi - log pi_old, 0 = on policy."""
    generator = torch.Generator().manual_seed(seed)
    advantage = torch.randn(4, generator=generator)
    old = -torch.rand(NUM_TOKENS, generator=generator)
    logprob = (old + torch.randn(NUM_TOKENS, generator=generator) * moved).double().requires_grad_()
    start = Start(problem=problem(max_response=LONGEST))
    flat = torch.repeat_interleave(advantage, torch.tensor(LENGTHS)).tolist()
    rows = estimated_of([(start, (1,) * n) for n in LENGTHS], flat)
    scored = replace(rows.scored, rollouts=replace(rows.rollouts, behavior_logprob=old))
    return Rows(replace(rows, scored=scored), logprob, old.double(), advantage.double())


def padded(x: Tensor) -> Tensor:
    """[A] as [4, LONGEST], zeros behind a row."""
    return torch.zeros(4, LONGEST, dtype=x.dtype).masked_scatter(MASK.bool(), x)
