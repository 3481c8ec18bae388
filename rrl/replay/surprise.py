"""How much an attempt surprised the value estimator: the temporal-difference error that prioritised replay ranks by."""

from __future__ import annotations

import numpy as np

from rrl.records import Attempt

UNSEEN = 1.0  # of a state that nothing was sampled from: the largest there can be, so that it is tried


def surprise(attempt: Attempt, t: int) -> float:
    """max_{u >= t} |delta_u|, delta_u = V(s_{u+1}) - V(s_u); behind the last token V is 1 where solved, else 0.

    gamma is 1 and rewards are outcomes, so delta_u is what token u changed of P(solved). A given token changes nothing.
    Where t lies inside the replayed prefix, whose values are not known, the own tokens count.

    Example: values (.2, .6, .5), unsolved, t 1 -> max(|.5 - .6|, |0 - .5|) = .5; t 0 -> .5; solved, t 0 -> .5.

    Args:
        attempt: a finished rollout.
        t: place in its whole response.
    """
    value = attempt.value[max(0, t - len(attempt.start.prefix)) :].astype(np.float64)
    return float(np.abs(np.diff(value, append=float(attempt.solved))).max(initial=0.0))
