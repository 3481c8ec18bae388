"""No critic: the value of a state is what continuations from it bring, as VinePPO has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rrl.protocols import Cut, Policy, Reward
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.calibration import calibration
from rrl.value.steps import Steps, distinct, states_at, steps_of, stepwise

_STREAM = "value.vine"


class VineMC:
    """V(s) = mean return of k continuations from s, P(solved) = their solved share.

    Kazemnejad et al., VinePPO, 2410.01679, eq. 5 and 7: unbiased values at the boundaries between reasoning steps, and
    all tokens of a step share r + V(next) - V(here). Continuations are sampled by today's policy with noise of
    (seed, fit, state, number): the same state is told the same however the rows are batched or dealt out to ranks,
    and no continuation disturbs the run's own rollouts. ``spent_tokens`` counts what they cost.

    The standard deviation of P(solved) is that of Beta(c + 1, k - c + 1), c of k solved. A state of which the reward
    failed for all continuations is unknown (mean and deviation one half), and its step gets no advantage.
    """

    min_samples_per_start = 1

    def __init__(
        self, *, policy: Policy, reward: Reward, ranks: Ranks, cut: Cut, num_continuations: int, lam: float
    ) -> None:
        """See conf/value/vine_mc.yaml. Raises ValueError for numbers out of range."""
        if num_continuations < 1:
            raise ValueError(f"value.num_continuations is {num_continuations}; expected >= 1")
        if not 0.0 <= lam <= 1.0:
            raise ValueError(f"value.lam is {lam}; expected a number in [0, 1]")
        self._policy, self._reward, self._ranks, self._cut = policy, reward, ranks, cut
        self._num, self._lam = num_continuations, lam
        self._fits = 0  # names the noise: fixed noise would have the policy learn its 4 continuations by heart
        self._spent = 0

    @property
    def spent_tokens(self) -> int:
        """Tokens sampled for continuations in this process."""
        return self._spent

    def estimate(self, scored: Scored) -> Estimated:
        """Step-wise advantages; what happens inside a step is not valued."""
        steps = steps_of(scored, self._cut)
        states, which = distinct(states_at(scored.rollouts.sequences, steps.first))
        value, success, _ = (x[which] for x in self._continued(states))
        value = _bridged(value, scored, steps)
        return stepwise(
            scored, steps, torch.from_numpy(value).float(), torch.from_numpy(success).float(), lam=self._lam
        )

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(solved share of k continuations, its standard deviation) of each start; re-scoring a store costs tokens."""
        states, which = distinct(starts)
        _, mean, std = self._continued(states)
        return mean[which], std[which]

    def fit(self, estimated: Estimated, progress: Progress) -> Metrics:  # noqa: ARG002 the door's signature
        """Nothing to learn; from now on other noise."""
        self._fits += 1
        return calibration(estimated, self._ranks)

    def state_dict(self) -> dict[str, Any]:
        """How often it was fitted, which names the noise."""
        return {"fits": self._fits}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore."""
        self._fits = int(state["fits"])

    def _continued(self, states: Sequence[Start]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(mean return or NaN, P(solved), its standard deviation) of each of these different states."""
        num = len(states)
        if not num:
            return np.zeros(0), np.zeros(0), np.zeros(0)
        keys = np.array([int(state.key, 16) for state in states], dtype=np.uint64)
        rollouts = self._policy.rollout(
            states, samples_per_start=self._num, step=self._fits, stream=_STREAM,
            row_numbers=(keys[:, None] + np.arange(self._num, dtype=np.uint64)).ravel(),  # modulo 2^64
        )
        self._spent += len(rollouts.sequences.actions)
        scored = self._reward.score(rollouts)
        sequences = scored.rollouts.sequences
        number = {state.key: i for i, state in enumerate(states)}
        place = np.array([number[s.key] for s in sequences.starts], dtype=np.int64)[sequences.start_index.numpy()]
        row = np.repeat(np.arange(sequences.num_rows), sequences.lengths.numpy())
        returns = np.bincount(row, scored.reward.double().numpy(), minlength=sequences.num_rows)
        tries = np.bincount(place, minlength=num)
        solved = np.bincount(place, scored.solved.numpy().astype(np.float64), minlength=num)
        known = tries > 0
        each = np.maximum(tries, 1)
        value = np.where(known, np.bincount(place, returns, minlength=num) / each, np.nan)
        belief = (solved + 1.0) / (tries + 2.0)
        std = np.sqrt(belief * (1.0 - belief) / (tries + 3.0))
        return value, np.where(known, solved / each, 0.5), np.where(known, std, 0.5)


def _bridged(value: np.ndarray, scored: Scored, steps: Steps) -> np.ndarray:
    """Values of unknown states (NaN) such that their steps' deltas are 0: r + V(next), from a row's end backwards."""
    if not np.isnan(value).any():
        return value
    reward = np.bincount(steps.of_actions(len(scored.reward)).numpy(), scored.reward.double().numpy())
    ends = set((steps.offsets[1:] - 1).tolist())
    known = value.copy()
    for m in range(len(known) - 1, -1, -1):
        if np.isnan(known[m]):
            known[m] = reward[m] + (0.0 if m in ends else known[m + 1])
    return known
