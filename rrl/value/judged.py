"""Values from a judge of states that was not trained here: what a reward model and self-evaluation share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch

from rrl.protocols import Cut
from rrl.ranks import Ranks
from rrl.types import Estimated, Metrics, Scored, Start
from rrl.value.calibration import calibration
from rrl.value.heads import bounds
from rrl.value.platt import Platt
from rrl.value.steps import distinct, states_at, steps_of, stepwise, walked


class Judged:
    """P(solved) of a state = Platt's reading of its score; V = low + (high - low) P(solved), a reasoning step a time.

    All tokens of a step share the value of the state that it begins in and an advantage (``steps.stepwise``).

    Args:
      score: of different states, any scale, higher is better; not called without any.
      cut: where a reasoning step ends.
      reduce: "last" = the state's own score; "min" = the least of it and of the states at which its earlier steps
        ended, as process reward models are read: one bad step spoils the rest.
      lam: GAE's lambda, a step.
      window: states that the calibration remembers.
    """

    def __init__(
        self, *, score: Callable[[Sequence[Start]], np.ndarray], cut: Cut, reduce: Literal["last", "min"], lam: float,
        window: int, score_range: tuple[float, float], ranks: Ranks,
    ) -> None:
        if not 0.0 <= lam <= 1.0:
            raise ValueError(f"value.lam is {lam}; expected a number in [0, 1]")
        if reduce not in ("last", "min"):
            raise ValueError(f"value.reduce is {reduce!r}; expected last or min")
        self._score, self._cut, self._reduce, self._lam, self._ranks = score, cut, reduce, lam, ranks
        self._low, self._high = bounds(score_range)
        self._platt = Platt(ranks=ranks, window=window)
        self._told: dict[str, float] = {}  # scores of the latest estimate, by state

    def estimate(self, scored: Scored) -> Estimated:
        """Step-wise advantages; what happens inside a step is not valued."""
        steps = steps_of(scored, self._cut)
        states = states_at(scored.rollouts.sequences, steps.first)
        scores = self._scores(states)
        self._told = {state.key: score for state, score in zip(states, scores.tolist(), strict=True)}
        success = self._platt.probability(scores)
        value = self._low + (self._high - self._low) * success
        return stepwise(
            scored, steps, torch.from_numpy(value).float(), torch.from_numpy(success).float(), lam=self._lam
        )

    def success(self, starts: Sequence[Start]) -> tuple[np.ndarray, np.ndarray]:
        """(P(solved), zeros) of each start: one judge knows no spread."""
        return self._platt.probability(self._scores(starts)), np.zeros(len(starts))

    def fit(self, estimated: Estimated) -> Metrics:
        """Calibrate on the fresh rows of the step: replayed starts were chosen by what is to be calibrated."""
        metrics = calibration(estimated, self._ranks)
        sequences, solved = estimated.sequences, estimated.scored.solved.tolist()
        fresh = torch.tensor([i for i in range(sequences.num_rows) if not sequences.start_of(i).replayed]).long()
        part = estimated.scored.rows(fresh)
        steps = steps_of(part, self._cut)
        states = states_at(part.rollouts.sequences, steps.first)
        unknown = distinct([state for state in states if state.key not in self._told])[0]
        told = self._told | dict(zip([s.key for s in unknown], self._scores(unknown).tolist(), strict=True))
        row = part.rollouts.sequences.row_of[steps.first].tolist()
        counts = (steps.offsets[1:] - steps.offsets[:-1]).tolist()
        outcome = [float(solved[i]) for i in fresh.tolist()]
        self._platt.observe([(told[s.key], outcome[i], 1.0 / counts[i]) for s, i in zip(states, row, strict=True)])
        return metrics | {"value/score_slope": self._platt.slope, "value/score_offset": self._platt.offset}

    def state_dict(self) -> dict[str, Any]:
        """The calibration."""
        return self._platt.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore."""
        self._platt.load_state_dict(state)

    def _scores(self, states: Sequence[Start]) -> np.ndarray:
        chains = [(walked(s, self._cut) if self._reduce == "min" else []) + [s] for s in states]
        each, which = distinct([s for chain in chains for s in chain])
        if not each:
            return np.zeros(0)
        scores = np.asarray(self._score(each), dtype=np.float64)[which]
        if not np.isfinite(scores).all():
            raise FloatingPointError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite")
        firsts = np.cumsum([0] + [len(chain) for chain in chains[:-1]])
        return np.asarray(np.minimum.reduceat(scores, firsts))
