"""What is believed of a state's P(solved): its decayed outcomes, with the value as a prior."""

from __future__ import annotations

import numpy as np


def posterior_mean(conversions: np.ndarray, tries: np.ndarray, value: np.ndarray, kappa: float) -> np.ndarray:
    """Mean (c + kappa V) / (n + kappa) of Beta(c + kappa V, n - c + kappa (1 - V)).

    Args:
        conversions: decayed solved tries c, >= 0.
        tries: decayed tries n, >= c.
        value: P(solved) by the value estimator, [0, 1].
        kappa: how many tries the value is worth, > 0.

    Example: c 1, n 2, V .5, kappa 2 -> (1 + 1) / (2 + 2) = .5.
    """
    mean: np.ndarray = (conversions + kappa * value) / (tries + kappa)
    return mean
