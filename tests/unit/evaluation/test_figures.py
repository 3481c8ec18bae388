from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rrl.report.evaluation.bootstrap import bootstrap_mean
from rrl.report.evaluation.figures import figures
from tests.unit.evaluation.rows import dropped, row


def test_equal_values_have_an_interval_without_width():
    assert bootstrap_mean([0.25] * 7) == (0.25, 0.25, 0.25)


def test_one_problem_has_no_interval():
    assert bootstrap_mean([0.5]) == (0.5, None, None)


@pytest.mark.parametrize(
    ("level", "ends"),
    # Resamples of (0, 1) have mean 0, .5, 1 with probabilities .25, .5, .25.
    [(0.95, (0.0, 1.0)), (0.6, (0.0, 1.0)), (0.4, (0.5, 0.5)), (0.1, (0.5, 0.5))],
)
def test_two_problems_by_hand(level, ends):
    assert bootstrap_mean([0.0, 1.0], level=level) == (0.5, *ends)


def test_three_problems_agree_with_the_enumeration_of_all_27_resamples():
    values = np.array([0.0, 0.2, 1.0])
    index = np.array(np.meshgrid(*[range(3)] * 3)).reshape(3, -1).T
    exact = np.sort(values[index].mean(axis=1))
    found = bootstrap_mean(values.tolist(), level=0.5, resamples=200_000)
    # No atom of the distribution ends near .25 or .75, so the quantiles are atoms themselves.
    assert found.low == pytest.approx(exact[math.ceil(0.25 * 27) - 1]) == pytest.approx(0.4 / 3)
    assert found.high == pytest.approx(exact[math.ceil(0.75 * 27) - 1])


def test_many_problems_come_near_the_normal_interval():
    values = np.random.default_rng(0).random(400)
    found = bootstrap_mean(values.tolist())
    half = stats.norm.ppf(0.975) * values.std() / math.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)


def test_an_interval_is_repeatable_and_no_values_are_refused():
    assert bootstrap_mean([0.1, 0.7, 0.3]) == bootstrap_mean([0.1, 0.7, 0.3])
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean([])


def test_figures_by_hand():
    rows = [
        row("a", [1, 1, 0, 0], greedy=1, tokens=10),  # pass@1 1/2, pass@2 1 - 1/6
        row("b", [0, 0, 0, 1], greedy=0, difficulty="easy", tokens=20, ended=False),  # 1/4, 1 - 3/6
        row("c", [0, 0, 0, 0], greedy=1, scores=[0.5, 0.5, 0.0, 0.0]),
        dropped("d"),
    ]
    found = figures(rows, (1, 2, 4))
    assert (found["num_problems"], found["num_dropped"]) == (3, 1)
    assert found["pass_at_k"]["1"]["value"] == pytest.approx((1 / 2 + 1 / 4 + 0) / 3)
    assert found["pass_at_k"]["2"]["value"] == pytest.approx((5 / 6 + 1 / 2 + 0) / 3)
    assert found["pass_at_k"]["4"]["value"] == pytest.approx(2 / 3)  # n samples: the share of problems ever solved
    assert found["greedy"]["value"] == pytest.approx(2 / 3)
    easy, hard = found["by_difficulty"]["easy"], found["by_difficulty"]["hard"]
    assert (easy["num_problems"], easy["sampled"]["value"], easy["greedy"]["value"]) == (1, 0.25, 0.0)
    assert easy["sampled"]["low"] is None
    assert (hard["num_problems"], hard["sampled"]["value"], hard["greedy"]["value"]) == (2, 0.25, 1.0)
    assert found["score"]["value"] == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    assert found["tokens"]["value"] == pytest.approx((10 + 20 + 4) / 3)
    assert found["cut_frac"]["value"] == pytest.approx(1 / 3)
    assert "tests_passed_frac" not in found


def test_figures_without_greedy_answers_or_without_any_row_are_absent():
    assert "greedy" not in figures([row("a", [1, 0])], (1,))
    assert figures([dropped("a")], (1,)) == {"num_problems": 0, "num_dropped": 1}


def test_programs_have_passed_tests_and_kinds_of_verdict():
    one, other = row("a", [1, 0, 0, 0]), row("b", [0, 0, 0, 0])
    told = [("solved", 4, 4), ("wrong", 2, 4), ("wrong", 0, 4), None]
    for r, t in zip(one["responses"], told, strict=True):
        r["tests"] = t and dict(zip(("kind", "passed", "total"), t, strict=True))
    for r in other["responses"]:
        r["tests"] = {"kind": "compile_error", "passed": 0, "total": 2}
    found = figures([one, other], (1,))
    assert found["tests_passed_frac"]["value"] == pytest.approx(((1 + 0.5 + 0 + 0) / 4 + 0) / 2)
    shares = {kind: e["value"] for kind, e in found["verdicts"].items()}
    assert shares == {"solved": 1 / 8, "wrong": 2 / 8, "compile_error": 4 / 8, "cut": 1 / 8}
