"""How much a set of responses repeats itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def self_bleu(texts: Sequence[str], order: int) -> float:
    """Mean over texts of BLEU with all others as references: 1 = all alike, 0 = nothing shared.

    Zhu et al. (Texygen), 1802.01886, with BLEU of Papineni et al. (2002): the geometric mean of the clipped precisions
    of 1- to ``order``-grams times exp(min(0, 1 - r / c)), c words of the text, r those of the reference nearest in
    length (the shorter of two). No smoothing: a text that shares no n-gram of the highest order counts 0. Words are
    what white space separates.

    Example: "a b", "a b", "c d" with order 2 -> (1 + 1 + 0) / 3.

    Args:
      texts: at least two.  order: largest n, >= 1.
    """
    words = [text.split() for text in texts]
    logs = [0.0] * len(words)
    for n in range(1, order + 1):
        counts = [Counter(zip(*(w[i:] for i in range(n)), strict=False)) for w in words]
        best = _two_largest(counts)
        for i, own in enumerate(counts):
            total = own.total()
            clipped = sum(min(count, _of_others(best[gram], count)) for gram, count in own.items())
            logs[i] += math.log(clipped / total) / order if clipped else -math.inf
    lengths = [len(w) for w in words]
    scores = [math.exp(log + _brevity(lengths, i)) for i, log in enumerate(logs)]
    return sum(scores) / len(scores)


def _two_largest(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Of every n-gram the largest count of a text and the second largest: a text's rivals are all but itself."""
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for own in counts:
        for gram, count in own.items():
            first, second = found.get(gram, (0, 0))
            found[gram] = (count, first) if count > first else (first, max(second, count))
    return found


def _of_others(best: tuple[int, int], own: int) -> int:
    return best[1] if own == best[0] else best[0]


def _brevity(lengths: Sequence[int], i: int) -> float:
    own = lengths[i]
    if own == 0:
        return -math.inf
    nearest = min((length for j, length in enumerate(lengths) if j != i), key=lambda r: (abs(r - own), r))
    return min(0.0, 1.0 - nearest / own)
