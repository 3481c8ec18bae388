"""What a reward model's number is worth: measured on the responses of the policy that training begins from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """mean, std: of the reference's scores, std > 0.  solved_above: a quantile of them, all in the scorer's unit."""

    mean: float
    std: float
    solved_above: float

    def standardised(self, score: float, clip: float) -> float:
        """(score - mean) / std, inside [-clip, clip]."""
        return float(np.clip((score - self.mean) / self.std, -clip, clip))


def bar_of(scores: np.ndarray, ended: np.ndarray, quantile: float) -> Bar:
    """The bar that the reference's own responses set.

    The quantile is the least score that at least this share of the responses do not exceed; one that was cut has no
    score and stands below all others. Scores 1, 2, 3, 4, quantile .75 -> mean 2.5, std 1.118, solved above 3.

    Args:
      scores: [S] of sampled responses.  ended: [S] whether each ended by itself.  quantile: in (0, 1).
    Raises:
      ValueError: fewer than two responses ended, or so few that the quantile is a response that was cut, or all
        scored the same.
    """
    done = scores[ended]
    lowest = np.where(ended, scores, -np.inf)
    solved_above = float(np.quantile(lowest, quantile, method="inverted_cdf")) if len(scores) else -np.inf
    if len(done) < 2 or not np.isfinite(solved_above):
        raise ValueError(
            f"{len(done)} of the {len(scores)} sampled responses ended by themselves, too few for "
            f"task.quantile {quantile}; expected a policy that can answer: a longer warm start, or a larger "
            "task.max_response"
        )
    if not done.std() > 0.0:
        raise ValueError(f"all {len(done)} responses scored {done[0]}; expected a task.reward that tells them apart")
    return Bar(mean=float(done.mean()), std=float(done.std()), solved_above=solved_above)
