from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rrl.report.evaluation.load import load_evaluation, problems_digest
from rrl.report.evaluation.versus import mcnemar, versus, win_share
from tests.unit.evaluation.rows import dropped, row, write_evaluation


def test_win_share_counts_all_pairs_and_ties_half():
    assert win_share([1.0, 0.0], [0.0, 0.0]) == 0.75
    assert win_share([1.0], [0.0, 1.0, 2.0]) == 0.5
    assert win_share([3.0, 1.0, 2.0], [2.0, 1.0]) == pytest.approx(
        stats.mannwhitneyu([3.0, 1.0, 2.0], [2.0, 1.0]).statistic / 6
    )


def test_win_shares_of_two_sides_add_up_to_one():
    a, b = np.random.default_rng(0).integers(3, size=(2, 9)).tolist()
    assert win_share(a, b) + win_share(b, a) == pytest.approx(1.0)


def test_mcnemar_by_hand():
    won, lost, same = ([1.0], [0.0]), ([0.0], [1.0]), ([1.0], [1.0])
    mine, baseline = (sum(part, []) for part in zip(*[won] * 5, lost, *[same] * 9, strict=True))
    assert mcnemar(mine, baseline) == pytest.approx(2 * (1 + 6) / 64) == stats.binomtest(1, 6).pvalue
    assert mcnemar(baseline, mine) == mcnemar(mine, baseline)
    assert mcnemar([1.0, 0.0], [1.0, 0.0]) == 1.0


def pair(tmp_path, mine, baseline, **changes):
    return (load_evaluation(write_evaluation(tmp_path / "mine", mine)),
            load_evaluation(write_evaluation(tmp_path / "baseline", baseline, **changes)))  # fmt: skip


def test_differences_and_win_rate_by_hand(tmp_path):
    mine = [row("a", [1, 1], greedy=1), row("b", [1, 0], greedy=1), row("c", [0, 0], greedy=0), dropped("d")]
    other = [row("a", [0, 0], greedy=0), row("b", [1, 0, 0, 0], greedy=1), row("c", [0, 0], greedy=0), row("d", [1, 1])]
    found = versus(*pair(tmp_path, mine, other))
    assert found["num_problems"] == 3 and found["same_prompts"]
    one = found["differences"]["pass@1"]
    assert (one["mine"], one["baseline"]) == pytest.approx((1.5 / 3, 0.25 / 3))
    assert one["value"] == pytest.approx((1 + 0.25 + 0) / 3)
    # Signs of (1, .25, 0): 8 patterns, 4 of them with a sum as far from 0 as 1.25.
    assert one["p_value"] == pytest.approx(4 / 8)
    assert (one["low"], one["high"]) == (0.0, 1.0)
    assert found["differences"]["greedy"]["p_value"] == 1.0  # one discordant problem
    assert "tests passed" not in found["differences"]
    win = found["win_rate"]
    # a: 1.  b: (1: 3 wins, 1 tie; 0: 3 ties, 1 loss) -> (3 + .5 + 1.5) / 8.  c: .5
    assert win["value"] == pytest.approx((1 + 5 / 8 + 0.5) / 3)
    assert (win["won"], win["tied"], win["lost"]) == (2, 1, 0)


def test_an_evaluation_beside_itself_is_no_better(tmp_path):
    rows = [row("a", [1, 0], greedy=1), row("b", [0, 0], greedy=0)]
    found = versus(*pair(tmp_path, rows, rows))
    for one in found["differences"].values():
        assert (one["value"], one["low"], one["high"], one["p_value"]) == (0.0, 0.0, 0.0, 1.0)
    assert found["win_rate"]["value"] == pytest.approx((0.5 + 0.5) / 2)


def test_other_problems_and_unfinished_baselines_are_refused(tmp_path):
    rows = [row("a", [1, 0]), row("b", [0, 0])]
    with pytest.raises(ValueError, match=r"other problems \(2 heldout problems of sums, seed 0"):
        versus(*pair(tmp_path / "1", rows, [row("a", [1, 0]), row("b", [0, 0], answer="8")]))
    with pytest.raises(ValueError, match="has 2 of 5 heldout problems of sums, seed 0; expected a finished one"):
        versus(*pair(tmp_path / "2", rows, rows, num_problems=5))


def test_a_prompt_in_another_template_is_the_same_problem_where_there_is_an_answer():
    plain, chat = row("a", [1], prompt="2+5"), row("a", [1], prompt="<user>2+5</user>")
    assert problems_digest([plain]) == problems_digest([chat])
    plain["answer"] = chat["answer"] = ""
    assert problems_digest([plain]) != problems_digest([chat])
