"""Prefixes that go round in circles: no continuation gets out of them."""

from __future__ import annotations

from rrl.protocols import Verdict
from rrl.records import Attempt, Prefix
from rrl.types import sampled


class DegenerateLoop:
    """Drop where 1 - distinct / all n-grams of the prefix's tokens is above ``max_repeat_frac``.

    The repetition measure of Welleck et al., 2019 (arXiv 1908.04319), on sampled tokens: an environment may well say
    the same thing again. A prefix of fewer than
    ``min_tokens`` is kept: in few n-grams one repetition is a large share.

    Example: tokens (5, 6, 5, 6, 5), bigrams 56 65 56 65: 1 - 2 / 4 = .5.

    Args:
        ngram: n, tokens, >= 1.
        max_repeat_frac: largest share of repeated n-grams, [0, 1).
        min_tokens: shortest prefix that is looked at, tokens, >= n.
    """

    def __init__(self, *, ngram: int, max_repeat_frac: float, min_tokens: int) -> None:
        if not 1 <= ngram <= min_tokens or not 0.0 <= max_repeat_frac < 1.0:
            raise ValueError(f"replay.filter.degenerate_loop has ngram {ngram}, min_tokens {min_tokens} and "
                             f"max_repeat_frac {max_repeat_frac}; expected 1 <= ngram <= min_tokens and a share "
                             "in [0, 1)")
        self._ngram, self._max_repeat_frac, self._min_tokens = ngram, max_repeat_frac, min_tokens

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        tokens = sampled(prefix.tokens)
        num = len(tokens) - self._ngram + 1
        if len(tokens) < self._min_tokens:
            return Verdict("keep", "")
        repeated = 1.0 - len({tokens[i : i + self._ngram] for i in range(num)}) / num
        if repeated > self._max_repeat_frac:
            return Verdict("drop", f"{repeated:.2f} of its {self._ngram}-grams repeat")
        return Verdict("keep", "")
