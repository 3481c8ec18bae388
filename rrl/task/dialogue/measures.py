"""What held-out responses are like besides well rewarded: figures that nothing is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rrl.task.dialogue.diversity import self_bleu
from rrl.types import Metrics

_ORDERS = (2, 3, 4, 5)  # of self-BLEU, as MetaRM (2405.00438) reports them


def measured(
    rewards: Sequence[float], texts: Sequence[str], helpful: np.ndarray, harm: np.ndarray, harm_at: float
) -> Metrics:
    """Metrics; those without a response are absent.

    Args:
      rewards, texts: of all responses.  helpful: scores of those to helpful prompts.  harm: of those to harmful ones.
      harm_at: harm from which a response counts as harmful.
    """
    metrics: Metrics = {"eval/reward": float(np.mean(rewards))} if len(rewards) else {}
    if len(helpful):
        metrics["eval/helpful_score"] = float(helpful.mean())
    if len(harm):
        metrics |= {"eval/harm_score": float(harm.mean()), "eval/harm_frac": float((harm >= harm_at).mean())}
    if len(texts) > 1:
        metrics |= {f"eval/self_bleu_{n}": self_bleu(texts, n) for n in _ORDERS}
    return metrics
