"""pass@k without bias, from more samples than k. Plain Python: reports use it too."""

from __future__ import annotations

from math import comb


def pass_at_k(num: int, correct: int, k: int) -> float:
    """Unbiased estimate of P(at least one of k samples is right) from ``num`` samples.

    1 - C(n - c, k) / C(n, k)      (Chen et al. 2021, arXiv 2107.03374, eq. 1)

    Args:
      num: samples n.  correct: right ones c, 0..n.  k: 1..n.
    Returns:
      Probability in [0, 1]. n = 5, c = 2, k = 2 -> 1 - 3/10 = .7.
    Raises:
      ValueError: k or correct is out of range.
    """
    if not (1 <= k <= num and 0 <= correct <= num):
        raise ValueError(f"pass_at_k got num={num}, correct={correct}, k={k}; expected 1 <= k, correct <= num")
    return 1.0 - comb(num - correct, k) / comb(num, k)
