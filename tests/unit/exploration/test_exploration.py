from __future__ import annotations

import math

import numpy as np
import pytest

from rrl.exploration import Exploration
from rrl.metrics import check_names
from rrl.pass_at_k import pass_at_k
from rrl.records import Attempt, Progress
from rrl.types import Problem, Start

NOW = Progress(step=0, sampled_tokens=0, token_budget=100, history=(), first=None, peak=None)


def attempt(name, tokens, *, entropy, score=0.0, solved=False, ended=True, prefix=(), difficulty="hard"):
    problem = Problem(id=name, prompt=(1,), answer="", solution=(), task="fake", difficulty=difficulty, max_response=9,
                      stop=(), exact_length=False)
    return Attempt(
        start=Start(problem=problem, prefix=prefix), tokens=tuple(tokens), value=np.zeros(len(tokens)),
        entropy=np.array(entropy, dtype=np.float32), score=score, solved=solved, ended=ended,
    )


STEP = [
    attempt("a", (7,), entropy=[1.0], score=0.4),
    attempt("a", (7,), entropy=[2.0], score=0.4),
    attempt("b", (5, 6, 6), entropy=[0.0, 0.0, 2.0], ended=False),
    attempt("c", (5, 6), entropy=[0.5, 0.5], score=1.0, solved=True, difficulty="easy"),
    attempt("a", (8, 8), entropy=[3.0, 1.0], score=1.0, solved=True, prefix=(5,)),
]


def test_rollout_metrics_of_five_attempts_by_hand():
    metrics, _ = Exploration().observe(STEP, NOW)
    check_names(list(metrics))
    assert metrics["rollout/score_fresh"] == pytest.approx(1.8 / 4)
    assert metrics["rollout/solved_fresh"] == 0.25
    assert metrics["rollout/solved_hard_fresh"] == 0.0
    assert metrics["rollout/entropy_nats_fresh"] == pytest.approx(6 / 7)  # over 7 tokens, not 4 row means
    assert metrics["rollout/length_tokens_fresh"] == 7 / 4
    assert metrics["rollout/cut_frac_fresh"] == 0.25
    assert metrics["rollout/tokens_fresh"] == 7
    assert metrics["rollout/unique_frac"] == 0.75  # the two decoys of "a" count once
    assert metrics["rollout/solved_hard_replayed"] == 1.0
    assert metrics["rollout/entropy_nats_replayed"] == 2.0
    assert metrics["rollout/tokens_replayed"] == 2
    assert metrics["rollout/prefix_tokens"] == 1


def test_signals_come_from_fresh_rows_only():
    _, signals = Exploration().observe(STEP, NOW)
    assert signals is not None
    assert signals.entropy == pytest.approx(6 / 7)
    assert (signals.unique_frac, signals.new_solves, signals.solve_rate) == (0.75, 250.0, 0.25)


def test_coverage_is_split_by_where_a_problem_was_solved_from():
    metrics, _ = Exploration().observe(STEP, NOW)
    assert metrics["explore/coverage_bare"] == 1 and metrics["explore/hard_coverage_bare"] == 0
    assert metrics["explore/coverage_replayed"] == 1 and metrics["explore/hard_coverage_replayed"] == 1


def test_a_problem_is_newly_solved_once():
    exploration = Exploration()
    exploration.observe(STEP, NOW)
    metrics, signals = exploration.observe(STEP, NOW)
    assert metrics["explore/new_solves"] == 0.0 and metrics["explore/coverage_bare"] == 1
    assert signals is not None and signals.new_solves == 0.0


def test_prefix_gain_compares_the_same_problems():
    exploration = Exploration()
    metrics, _ = exploration.observe(STEP, NOW)
    assert metrics["explore/prefix_gain"] == pytest.approx(1.0)  # "a": 1 from the prefix, 0 of 2 bare
    later = [attempt("a", (8,), entropy=[0.0], prefix=(5,)), attempt("b", (8,), entropy=[0.0], solved=True)]
    metrics, _ = exploration.observe(later, NOW)
    # Weights of "a" from a prefix: .9 * .1 for the win, .1 for the failure; bare still 0. "b" has no replay.
    assert metrics["explore/prefix_gain"] == pytest.approx(0.09 / 0.19)


def test_row_order_does_not_matter():
    one, other = Exploration(), Exploration()
    forwards, _ = one.observe(STEP, NOW)
    backwards, _ = other.observe(STEP[::-1], NOW)
    assert backwards == pytest.approx(forwards)
    assert one.state_dict() == other.state_dict()


def test_a_step_without_fresh_rows_has_no_signals_and_no_fresh_metrics():
    metrics, signals = Exploration().observe(STEP[4:], NOW)
    assert signals is None
    assert not [name for name in metrics if name.endswith("_fresh")]
    assert "rollout/unique_frac" not in metrics and "explore/prefix_gain" not in metrics


def test_metrics_without_hard_or_replayed_rows_are_absent():
    metrics, _ = Exploration().observe(STEP[3:4], NOW)
    assert "rollout/solved_hard_fresh" not in metrics and "rollout/score_replayed" not in metrics


def test_save_load_continue_equals_never_stopped():
    unbroken, resumed = Exploration(), Exploration()
    unbroken.observe(STEP, NOW)
    resumed.load_state_dict(unbroken.state_dict())
    later = [attempt("b", (4,), entropy=[1.0], solved=True), attempt("a", (4,), entropy=[1.0])]
    assert unbroken.observe(later, NOW) == resumed.observe(later, NOW)
    assert unbroken.state_dict() == resumed.state_dict()


def test_a_checkpoint_without_a_record_of_turned_prefixes_begins_one():
    state, resumed = Exploration().state_dict(), Exploration()
    del state["turned"]
    resumed.load_state_dict(state)
    resumed.observe([attempt("a", (8,), entropy=[0.0], prefix=(5,))], NOW)
    resumed.observe([attempt("a", (8,), entropy=[0.0], prefix=(5,), solved=True)], NOW)
    assert [row["problem"] for row in resumed.turned.rows(str)] == ["a"]


@pytest.mark.parametrize(("num", "correct", "k", "expected"), [
    (5, 2, 2, 0.7), (5, 2, 1, 0.4), (5, 0, 3, 0.0), (5, 5, 1, 1.0), (5, 4, 2, 1.0), (4, 1, 4, 1.0),
    (200, 1, 100, 0.5),
])
def test_pass_at_k_by_hand(num, correct, k, expected):
    assert pass_at_k(num, correct, k) == pytest.approx(expected)


def test_pass_at_k_equals_one_minus_the_share_of_all_wrong_subsets():
    assert pass_at_k(6, 2, 3) == pytest.approx(1 - math.comb(4, 3) / math.comb(6, 3))


@pytest.mark.parametrize(("num", "correct", "k"), [(2, 1, 3), (2, 3, 1), (2, 1, 0), (2, -1, 1)])
def test_pass_at_k_refuses_impossible_counts(num, correct, k):
    with pytest.raises(ValueError, match="pass_at_k"):
        pass_at_k(num, correct, k)
