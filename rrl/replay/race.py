"""The exponential race: the one way this room samples in proportion to weights.

Item i finishes at time Exp(1) / w_i. The first to finish is i with probability w_i / sum w, and the order of
arrival is sampling without replacement (Efraimidis and Spirakis, 2006). Letting an item run again, its next
arrival one more Exp(1) / w_i later, gives sampling *with* replacement, cut off at the number of laps.
"""

from __future__ import annotations

import numpy as np


def arrival_times(uniform: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Times t[i, j] = sum_{l <= j} -log(1 - u[i, l]) / w[i] of item i's j-th arrival.

    Args:
        uniform: [P, laps] in [0, 1), independent.
        weight: [P], >= 0; an item of weight 0 never arrives (infinite time).

    Returns:
        [P, laps], ascending in each row.
    """
    laps = np.cumsum(-np.log1p(-uniform), axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(weight[:, None] > 0, laps / weight[:, None], np.inf)


def first_arrivals(times: np.ndarray, num: int) -> np.ndarray:
    """Flat positions of the ``num`` earliest finite times, earliest first; fewer where fewer arrive.

    Example: times [[3., 9.], [inf, inf], [1., 2.]], num 3 -> positions (4, 5, 0): item 2, item 2, item 0.
    """
    flat = times.ravel()
    num = min(num, int(np.isfinite(flat).sum()))
    if num < 1:
        return np.empty(0, dtype=np.int64)
    chosen = np.argpartition(flat, num - 1)[:num]
    return chosen[np.argsort(flat[chosen], kind="stable")]
