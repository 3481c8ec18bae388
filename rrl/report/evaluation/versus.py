"""An evaluation beside a baseline's, problem by problem: differences, and how often it wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from rrl.report.evaluation.bootstrap import bootstrap_mean
from rrl.report.evaluation.figures import has_tests, mean_of, solved_greedily, solved_within, tests_passed
from rrl.report.evaluation.load import Evaluation, problems_digest
from rrl.report.stats import paired_permutation

Row = Mapping[str, Any]


def versus(mine: Evaluation, baseline: Evaluation) -> dict[str, Any]:
    """Paired differences (mine - baseline) and win rate over the problems that both have scored.

    Returns:
      ``baseline`` (its folder), ``num_problems``, ``same_prompts``; ``differences``: name -> {mine, baseline, value,
      low, high, p_value}, intervals by resampling problems with both their numbers, p by permuting signs, and for
      greedy answers by the exact McNemar test; ``win_rate``: {value, low, high} of ``win_share``, with ``won``,
      ``tied`` and ``lost`` problems.
    Raises:
      ValueError: the problems are not the same, or the baseline is not finished.
    """
    if not baseline.finished:
        raise ValueError(f"baseline {str(baseline.folder)!r} has {len(baseline.rows)} of {baseline.described}; "
                         f"expected a finished one; first: rrl-eval resume={baseline.folder}")
    if problems_digest(mine.rows) != problems_digest(baseline.rows):
        raise ValueError(f"baseline {str(baseline.folder)!r} is of other problems ({baseline.described}; here "
                         f"{mine.described}); expected the same task, split, number, choice (seed) and data")
    pairs = [(a, b) for a, b in zip(mine.rows, baseline.rows, strict=True) if not a["dropped"] and not b["dropped"]]
    found: dict[str, Any] = {
        "baseline": str(baseline.folder.resolve()), "num_problems": len(pairs), "differences": {},
        "same_prompts": all(a["prompt"] == b["prompt"] for a, b in pairs),
    }  # fmt: skip
    if not pairs:
        return found
    numbers: dict[str, Callable[[Row], float]] = {"pass@1": lambda row: solved_within(row, 1)}
    if all(row["greedy"] is not None for row in pairs[0]):
        numbers["greedy"] = solved_greedily
    numbers |= {"score": lambda row: mean_of(row, "score"), "tokens": lambda row: mean_of(row, "tokens")}
    if has_tests(pairs[0][0]) and has_tests(pairs[0][1]):
        numbers["tests passed"] = tests_passed
    for name, each in numbers.items():
        found["differences"][name] = _difference(name, [each(a) for a, _ in pairs], [each(b) for _, b in pairs])
    shares = [win_share([r["score"] for r in a["responses"]], [r["score"] for r in b["responses"]]) for a, b in pairs]
    found["win_rate"] = {
        **bootstrap_mean(shares)._asdict(),
        "won": sum(s > 0.5 for s in shares), "tied": shares.count(0.5), "lost": sum(s < 0.5 for s in shares),
    }  # fmt: skip
    return found


def win_share(mine: Sequence[float], baseline: Sequence[float]) -> float:
    """P(a response of mine scores above one of the baseline's), ties half, over all pairs of one problem's responses.

    Example: (1, 0) against (0, 0) -> (1 + 1 + .5 + .5) / 4 = .75.
    """
    difference = np.subtract.outer(np.asarray(mine, dtype=float), np.asarray(baseline, dtype=float))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def mcnemar(mine: Sequence[float], baseline: Sequence[float]) -> float:
    """Two-sided exact p-value that two policies solve equally many problems: min(1, 2 P(X <= min(b, c))),
    X ~ Binomial(b + c, 1/2), b and c the problems that only one of them solves (McNemar 1947, doi 10.1007/BF02295996).

    Example: 5 won, 1 lost -> 2 (1 + 6) / 64 = .21875.
    """
    won = sum(a > b for a, b in zip(mine, baseline, strict=True))
    lost = sum(a < b for a, b in zip(mine, baseline, strict=True))
    return float(min(1.0, 2.0 * stats.binom.cdf(min(won, lost), won + lost, 0.5)))


def _difference(name: str, mine: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    paired = np.subtract(mine, baseline).tolist()
    if name == "greedy":
        p_value = mcnemar(mine, baseline)
    else:
        p_value = paired_permutation(mine, baseline, generator=np.random.default_rng(0), repetitions=10_000)
    return {
        "mine": float(np.mean(mine)), "baseline": float(np.mean(baseline)),
        **bootstrap_mean(paired)._asdict(), "p_value": p_value,
    }  # fmt: skip
