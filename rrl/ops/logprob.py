"""Chosen log-probability and entropy from logits: the house's door to ``rrl_kernels``."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from rrl_kernels import api


def logprob_entropy(
    logits: Float[Tensor, "C V"], targets: Int64[Tensor, "C"], temperature: float
) -> tuple[Float[Tensor, "C"], Float[Tensor, "C"]]:
    """Log-probability of each target and entropy of each row under softmax(logits / temperature).

    Backward: d logits = g_lp (onehot - p) / T - g_H p (log p + H) / T, with p recomputed by chunks
    of rows, so that a vocabulary of 150,000 costs no second copy of the logits.

    Args:
      logits: any floating dtype; half precision is read as float32.
      targets: in [0, V).
      temperature: > 0.
    Returns:
      (logprob, entropy) in nats, float32 or wider.
    Raises:
      ValueError: shapes or dtypes do not fit, or temperature <= 0.
    """
    return api.logprob_entropy(logits, targets, temperature)
