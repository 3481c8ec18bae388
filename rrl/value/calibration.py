"""How good the value estimates are, by origin, from sufficient statistics of the whole step.

Averages of a ratio over micro-batches or ranks are wrong; here sums are added up over ranks first
and divided once. What is undefined (one class only, constant targets) is absent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rrl.ranks import Ranks
from rrl.types import Estimated, Metrics

_BINS = 10


def calibration(estimated: Estimated, ranks: Ranks) -> Metrics:
    """value/* metrics of the estimates in ``estimated``, made before anything was fitted to them."""
    by_origin = [_numbers(estimated, replayed) for replayed in (False, True)]
    sums = np.array(ranks.sum([x for sums, _ in by_origin for x in sums.tolist()])).reshape(2, -1)
    everyone = ranks.gather([([rows for _, rows in by_origin], _start_keys(estimated))])
    metrics: dict[str, float | None] = {}
    for s, origin in enumerate(("fresh", "replayed")):
        rows = np.concatenate([mine[s] for mine, _ in everyone])
        metrics[f"value/rank_correlation_{origin}"] = among_starts(rows, [k for _, keys in everyone for k in keys[s]])
        metrics[f"value/explained_variance_{origin}"] = explained_variance(*sums[s][:5])
        metrics[f"value/brier_{origin}"] = brier(sums[s][0], sums[s][5])
        metrics[f"value/ece_{origin}"] = ece(*sums[s][6:].reshape(3, _BINS))
        metrics[f"value/auc_{origin}"] = auc(rows[:, 0], rows[:, 2] > 0.5)
        metrics[f"value/auc_last_{origin}"] = auc(rows[:, 1], rows[:, 2] > 0.5)
    return {name: x for name, x in metrics.items() if x is not None}


def explained_variance(num: float, target: float, target_sq: float, error: float, error_sq: float) -> float | None:
    """1 - Var(target - value) / Var(target), from a count and sums; None where targets are constant."""
    if num < 2:
        return None
    variance = target_sq / num - (target / num) ** 2
    if variance <= 1e-9 * max(target_sq / num, 1e-30):  # float64 rounding of equal targets
        return None
    return float(1.0 - (error_sq / num - (error / num) ** 2) / variance)


def brier(num: float, error_sq: float) -> float | None:
    """Mean of (P(solved) - solved)^2, from its sum (Brier, 1950)."""
    return float(error_sq / num) if num else None


def ece(count: np.ndarray, predicted: np.ndarray, solved: np.ndarray) -> float | None:
    """Expected calibration error: sum_b |sum of p in bin b - solved in bin b| / n (Guo et al., 1706.04599, eq. 3).

    Args:
      count, predicted, solved: of each equal-width bin of p: how many, their sum of p, how many solved.
    """
    return float(np.abs(predicted - solved).sum() / count.sum()) if count.sum() else None


def auc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """P(score of a positive > score of a negative), ties counting half; None with one class only.

    Mann-Whitney: (sum of the positives' ranks - n+ (n+ + 1) / 2) / (n+ n-), tied scores sharing
    their mean rank.
    """
    num_positive = int(positive.sum())
    num_negative = len(positive) - num_positive
    if num_positive == 0 or num_negative == 0:
        return None
    excess = mean_ranks(score)[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(excess / (num_positive * num_negative))


def among_starts(rows: np.ndarray, keys: Sequence[str]) -> float | None:
    """Spearman correlation over starts of P(solved) with the solved share of the start's rows.

    The rows that a step sampled from a start are Monte Carlo of its value that cost nothing more; a share of k rows is
    noisy, so even a perfect estimator stays below 1, the less the larger k. None below three starts.

    Args:
      rows: [M, 3] success at the first action, anything, solved.
      keys: name of each row's start.
    """
    _, which, count = np.unique(np.array(keys, dtype=str), return_inverse=True, return_counts=True)
    if len(count) < 3:
        return None
    return spearman(np.bincount(which, rows[:, 0]) / count, np.bincount(which, rows[:, 2]) / count)


def spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson correlation of ranks, tied numbers sharing their mean rank (Spearman, 1904); None for a constant."""
    a, b = (mean_ranks(v) - (len(v) + 1) / 2 for v in (x, y))
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale else None


def mean_ranks(x: np.ndarray) -> np.ndarray:
    """Ranks 1..n, ties sharing their mean. (3, 1, 3) -> (2.5, 1, 2.5)."""
    _, which, count = np.unique(x, return_inverse=True, return_counts=True)
    return np.asarray((count.cumsum() - (count - 1) / 2)[which])


def _start_keys(estimated: Estimated) -> list[list[str]]:
    """Keys of the starts of fresh rows, and of replayed ones."""
    starts = [estimated.sequences.start_of(i) for i in range(estimated.sequences.num_rows)]
    return [[start.key for start in starts if start.replayed == replayed] for replayed in (False, True)]


def _numbers(estimated: Estimated, replayed: bool) -> tuple[np.ndarray, np.ndarray]:
    """(sums over tokens, [M, 3] success at the first and last action and solved) of one origin's rows."""
    sequences = estimated.sequences
    is_replayed = np.array([s.replayed for s in sequences.starts], dtype=bool)
    rows = np.flatnonzero(is_replayed[sequences.start_index.numpy()] == replayed)
    offsets, solved = sequences.offsets.numpy(), estimated.scored.solved.numpy().astype(np.float64)
    success = _wide(estimated.success)
    tokens = np.isin(sequences.row_of.numpy(), rows)
    target, error = _wide(estimated.target_return)[tokens], _wide(estimated.target_return - estimated.value)[tokens]
    p, y = success[tokens], np.repeat(solved, sequences.lengths.numpy())[tokens]
    bins = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
    sums = [len(p), target.sum(), (target**2).sum(), error.sum(), (error**2).sum(), ((p - y) ** 2).sum()]
    histograms = [np.bincount(bins, weights, minlength=_BINS) for weights in (np.ones_like(p), p, y)]
    ends = np.stack([success[offsets[rows]], success[offsets[rows + 1] - 1], solved[rows]], axis=1)
    return np.concatenate([sums, *histograms]), ends


def _wide(x: Tensor) -> np.ndarray:
    return x.to(torch.float64).numpy()
