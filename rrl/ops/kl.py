"""Per-token estimates of KL(p || q) from samples of p, with their derivatives.

Schulman, "Approximating KL divergence" (2020): with l = log q(x) - log p(x) and x ~ p,
k1 = -l (unbiased, high variance), k2 = l^2 / 2 (biased, low variance), k3 = e^l - 1 - l (unbiased,
never negative). As a *loss* only the derivative counts: that of k1 is 1 for every token, which is
zero in expectation and so holds nothing back; that of k2 has the gradient of KL(p || q); that of
k3 has the gradient of KL(q || p).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Estimate = tuple[Tensor, Tensor]  # (KL of each token in nats, its derivative by log p)


def k1(logprob: Tensor, reference_logprob: Tensor) -> Estimate:
    """log p - log q; derivative 1."""
    return logprob - reference_logprob, torch.ones_like(logprob)


def k2(logprob: Tensor, reference_logprob: Tensor) -> Estimate:
    """(log p - log q)^2 / 2; derivative log p - log q."""
    gap = logprob - reference_logprob
    return gap.square() / 2, gap


def k3(logprob: Tensor, reference_logprob: Tensor) -> Estimate:
    """q/p - 1 - log(q/p); derivative 1 - q/p."""
    gap = reference_logprob - logprob
    return torch.expm1(gap) - gap, -torch.expm1(gap)


ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Estimate]] = {"k1": k1, "k2": k2, "k3": k3}


def kl_loss(
    estimator: Callable[[Tensor, Tensor], Estimate],
    reference_logprob: Tensor,
    scale: float,
    logprob: Tensor,
    entropy: Tensor,
    index: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """A TokenLoss once its first three arguments are bound: scale x sum of KL(pi || reference)."""
    kl, d_kl = estimator(logprob, reference_logprob[index.to(reference_logprob.device)].to(logprob))
    return scale * kl.sum(), scale * d_kl, torch.zeros_like(entropy)
