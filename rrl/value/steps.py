"""Rows as chains of reasoning steps: what an estimator needs that values states between steps and not every token.

A cut says where the steps end. The state at a boundary is a start like any other (problem and prefix), so it can be
continued from, shown to a reward model, or asked about. All actions of a step share its value and its advantage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rrl.ops.advantage import gae
from rrl.protocols import Cut
from rrl.records import Attempt
from rrl.stages import attempts_of
from rrl.types import Estimated, Scored, Sequences, Start, Tokens
from rrl.value.groups import returns_to_go


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The steps of N rows, M in all. first: the action (axis A) that begins each step, ascending; a row's first action
    begins one.  offsets: the steps of row i are offsets[i]:offsets[i + 1].

    Example: rows of 4 and 2 actions, the first one cut before its action 3: first (0, 3, 4), offsets (0, 2, 3).
    """

    first: Int64[Tensor, "M"]
    offsets: Int64[Tensor, "N1"]

    def of_actions(self, num_actions: int) -> Int64[Tensor, "A"]:
        """The step of each action."""
        return torch.searchsorted(self.first, torch.arange(num_actions), right=True) - 1


def steps_of(scored: Scored, cut: Cut) -> Steps:
    """Where ``cut`` divides each row; boundaries inside a replayed prefix belong to no action and are left out.

    The cut sees tokens, text and entropies; no value is known yet, so one that looks at values finds nothing.
    """
    sequences = scored.rollouts.sequences
    blank = torch.zeros(len(sequences.actions))
    nothing = Estimated(scored=scored, value=blank, success=blank, advantage=blank, target_return=blank)
    first, counts = [], []
    for offset, attempt in zip(sequences.offsets.tolist(), attempts_of(nothing), strict=False):
        places = sorted({0} | _action_numbers(attempt, cut.boundaries(attempt)))
        first += [offset + place for place in places]
        counts.append(len(places))
    return Steps(
        first=torch.tensor(first, dtype=torch.int64), offsets=torch.tensor([0, *counts], dtype=torch.int64).cumsum(0)
    )


def states_at(sequences: Sequences, first: Int64[Tensor, "M"]) -> list[Start]:
    """The state before each of the actions ``first``: the row's start with all that was said up to there."""
    row_of, offsets = sequences.row_of[first].tolist(), sequences.offsets.tolist()
    tokens = sequences.all_tokens()
    own = [[j for j, token in enumerate(said) if token >= 0] for said in tokens]
    states = []
    for action, row in zip(first.tolist(), row_of, strict=True):
        start, place = sequences.start_of(row), own[row][action - offsets[row]]
        states.append(Start(problem=start.problem, prefix=start.prefix + tokens[row][:place]))
    return states


def walked(start: Start, cut: Cut) -> list[Start]:
    """The states at which the steps of a start's prefix ended, its own state left out; none of a bare start."""
    said = start.prefix
    nothing = np.zeros(len(said))
    attempt = Attempt(
        start=Start(problem=start.problem), tokens=said, value=nothing, entropy=nothing, score=0.0, solved=False,
        ended=False,
    )
    places = {_past_given(said, t) for t in cut.boundaries(attempt)} if said else set()
    return [Start(problem=start.problem, prefix=said[:t]) for t in sorted(places) if 0 < t < len(said)]


def stepwise(
    scored: Scored, steps: Steps, value: Float[Tensor, "M"], success: Float[Tensor, "M"], *, lam: float
) -> Estimated:
    """Advantages by GAE whose time steps are reasoning steps: delta_m = r_m + V(s_{m+1}) - V(s_m).

    r_m sums the rewards of step m, V is 0 behind a row's last action, gamma is 1. lam 0 gives every action of a step
    the step's own delta (Kazemnejad et al., VinePPO, 2410.01679, eq. 7); lam 1 the return less V(s_m).

    Args:
      scored, steps: rows, and their steps.
      value, success: of the state before each step: expected return, P(solved).
      lam: GAE's lambda, a step; in [0, 1].
    """
    num_actions = len(scored.reward)
    step = steps.of_actions(num_actions)
    reward = torch.zeros(len(value), dtype=torch.float64).index_add(0, step, scored.reward.double()).float()
    behind = torch.zeros(len(steps.offsets) - 1)
    advantage = gae(reward, value, behind, steps.offsets, gamma=1.0, lam=lam)
    return Estimated(
        scored=scored, value=value[step], success=success[step], advantage=advantage[step],
        target_return=returns_to_go(scored),
    )


def distinct(states: Sequence[Start]) -> tuple[list[Start], np.ndarray]:
    """(each state once, which of these every entry of ``states`` is): rows of one start share states."""
    number: dict[str, int] = {}
    index = np.array([number.setdefault(state.key, len(number)) for state in states], dtype=np.int64)
    chosen = dict(zip(index.tolist(), states, strict=True))
    return [chosen[i] for i in range(len(number))], index


def _action_numbers(attempt: Attempt, boundaries: Sequence[int]) -> set[int]:
    """Boundaries t of the whole response as numbers of the row's actions, those at or before its first left out."""
    own = np.concatenate([[0], np.cumsum(attempt.own)])  # own[p]: actions before place p of the row's tokens
    places = [t - len(attempt.start.prefix) for t in boundaries]
    numbers = {int(own[p]) for p in places if 0 < p < len(attempt.tokens)}
    return {n for n in numbers if 0 < n < int(own[-1])}


def _past_given(tokens: Tokens, t: int) -> int:
    """The first place from t on where the policy speaks: a state waits until the environment has spoken."""
    while t < len(tokens) and tokens[t] < 0:
        t += 1
    return t
