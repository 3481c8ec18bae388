"""Figures of an evaluation: a pure function of its rows. Each is a mean over problems of one number a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from rrl.pass_at_k import pass_at_k
from rrl.report.evaluation.bootstrap import bootstrap_mean

Row = Mapping[str, Any]
KINDS = ("solved", "wrong", "too_slow", "runtime_error", "compile_error", "cut")


def figures(rows: Sequence[Row], k: Sequence[int]) -> dict[str, Any]:
    """All figures of rows, plain enough for JSON; a figure that is undefined is absent.

    Args:
      rows: of ``samples.jsonl``; dropped ones are counted and left out.
      k: of pass@k, each at most the number of responses.
    Returns:
      ``num_problems``, ``num_dropped``; ``pass_at_k`` by k (the share of problems ever solved where k is
      the number of responses); ``greedy``; ``by_difficulty``; ``score``, ``tokens``, ``cut_frac``; for programs
      ``tests_passed_frac`` and ``verdicts``, the share of responses of each kind. An estimate is {value, low, high}.
    """
    scored = [row for row in rows if not row["dropped"]]
    found: dict[str, Any] = {"num_problems": len(scored), "num_dropped": len(rows) - len(scored)}
    if not scored:
        return found

    def over(each: Callable[[Row], float], among: Sequence[Row] = scored) -> dict[str, Any]:
        return bootstrap_mean([each(row) for row in among])._asdict()

    found["pass_at_k"] = {str(x): over(partial(solved_within, k=x)) for x in k}
    if scored[0]["greedy"] is not None:
        found["greedy"] = over(solved_greedily)
    found["by_difficulty"] = {}
    for label in sorted({row["difficulty"] for row in scored}):
        among = [row for row in scored if row["difficulty"] == label]
        part = {"num_problems": len(among), "sampled": over(partial(solved_within, k=1), among)}
        if scored[0]["greedy"] is not None:
            part["greedy"] = over(solved_greedily, among)
        found["by_difficulty"][label] = part
    found["score"] = over(partial(mean_of, key="score"))
    found["tokens"] = over(partial(mean_of, key="tokens"))
    found["cut_frac"] = over(lambda row: 1.0 - mean_of(row, "ended"))
    if has_tests(scored[0]):
        found["tests_passed_frac"] = over(tests_passed)
        shares = {kind: over(partial(verdict_share, kind=kind)) for kind in KINDS}
        found["verdicts"] = {kind: share for kind, share in shares.items() if share["value"] > 0.0}
    return found


def num_solved(row: Row) -> int:
    """Solved responses of a problem."""
    return sum(response["solved"] for response in row["responses"])


def solved_within(row: Row, k: int) -> float:
    """Unbiased pass@k of one problem."""
    return pass_at_k(len(row["responses"]), num_solved(row), k)


def solved_greedily(row: Row) -> float:
    """1 where the response of likeliest tokens is solved, else 0."""
    return float(row["greedy"]["solved"])


def mean_of(row: Row, key: str) -> float:
    """Mean of a number over a problem's responses."""
    return float(np.mean([response[key] for response in row["responses"]]))


def has_tests(row: Row) -> bool:
    """Whether responses are programs that had to pass tests."""
    return "tests" in row["responses"][0]


def tests_passed(row: Row) -> float:
    """Mean share of tests passed; none for a response that was cut."""
    tests = [response["tests"] for response in row["responses"]]
    return float(np.mean([t["passed"] / t["total"] if t else 0.0 for t in tests]))


def verdict_share(row: Row, kind: str) -> float:
    """Share of a problem's responses of one kind of verdict; "cut" = none was reached."""
    kinds = [response["tests"]["kind"] if response["tests"] else "cut" for response in row["responses"]]
    return kinds.count(kind) / len(kinds)
