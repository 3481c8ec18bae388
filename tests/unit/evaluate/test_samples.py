"""Samples of a policy whose every answer can be foretold; see test_evaluate for the fakes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from rrl.protocols import PassedTests
from rrl.ranks import Ranks
from rrl.reward.task import TaskReward
from rrl.samples import Samples, checked_k, weights_of
from tests.unit.evaluate.test_evaluate import EASY, HARD, HELDOUT, FakeTask, TabularPolicy, ThreadRank, problem


class Policy(TabularPolicy):
    fingerprint = "tabular"

    def __init__(self):
        super().__init__()
        self.weights = [torch.zeros(3), torch.arange(5000.0)]

    def parameters(self):
        return iter(self.weights)

    def decode(self, tokens):
        return " ".join(map(str, tokens))


class Task(FakeTask):
    fingerprint = "fake"


def samples(task=None, ranks=None, policy=None, **changes):
    task = task or Task(HARD + EASY, HELDOUT)
    numbers = {"seed": 0, "split": "train", "num_problems": 0, "num_samples": 4, "k": None, "greedy": True,
               "shard_problems": 2}  # fmt: skip
    return Samples(policy=policy or Policy(), task=task, ranks=ranks or Ranks(),
                   reward=TaskReward(task=task, timeout_s=60.0), **(numbers | changes))  # fmt: skip


def test_a_row_says_what_was_asked_and_what_was_answered():
    (one,) = samples(Task(HARD[:1], [])).rows(0, 1)
    assert (one["problem"], one["difficulty"], one["prompt"], one["dropped"]) == ("h0", "hard", "1", False)
    assert one["greedy"] == {"text": "2 3", "tokens": 2, "ended": True, "solved": True, "score": 1.0}  # .9 and .6
    assert len(one["responses"]) == 4
    assert all(r["solved"] == (r["text"] == "2 3") == (r["score"] == 1.0) for r in one["responses"])


def test_shards_of_any_size_and_two_ranks_give_the_same_rows():
    whole = samples().rows(0, 3)
    assert samples().rows(0, 2) + samples().rows(2, 3) == whole
    box, barrier = [None, None], Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(samples(ranks=ThreadRank(r, box, barrier)).rows, 0, 3) for r in (0, 1)]
        assert [run.result(timeout=20) for run in runs] == [whole] * 2


def test_another_seed_is_other_noise_and_the_step_of_a_checkpoint_is_none():
    many = Task([problem(f"h{i}", "hard", (2, 3)) for i in range(20)], [])
    assert samples(many).rows(0, 20) != samples(many, seed=1).rows(0, 20)
    policy = Policy()
    samples(policy=policy).rows(0, 3)
    assert [stream for stream, _, _ in policy.calls] == ["evaluate.samples.0", "evaluate.samples.0.greedy"]


def test_some_problems_are_a_fixed_choice_in_their_own_order():
    many = Task([problem(f"h{i:02}", "hard", (2, 3)) for i in range(50)], [])
    ids = [p.id for p in samples(many, num_problems=5).problems]
    assert ids == sorted(ids) == [p.id for p in samples(many, num_problems=5).problems]
    assert ids != [p.id for p in samples(many, num_problems=5, seed=1).problems]


def test_a_problem_that_the_reward_left_out_is_marked_and_the_others_stay():
    class Failing(Task):
        def score(self, problem, response):
            if problem.id == "h1":
                raise RuntimeError("no verdict")
            return super().score(problem, response)

    rows = samples(Failing(HARD, [])).rows(0, 2)
    assert [r["dropped"] for r in rows] == [False, True]
    assert rows[1]["responses"] == [] and rows[1]["greedy"] is None


def test_a_task_that_runs_programs_tells_its_tests():
    class Programs(Task):
        def tests(self, problem, response):
            return PassedTests(kind="wrong", passed=1, total=2) if response[0] == 2 else None

    (one,) = samples(Programs(HARD[:1], [])).rows(0, 1)
    assert one["greedy"]["tests"] == {"kind": "wrong", "passed": 1, "total": 2}
    assert all((r["tests"] is None) == r["text"].startswith("3") for r in one["responses"])


@pytest.mark.parametrize(("changes", "words"), [
    ({"num_samples": 0}, r"samples\.num_samples is 0; expected >= 1"),
    ({"num_problems": -1}, r"samples\.num_problems is -1; expected >= 0"),
    ({"num_problems": 9}, r"samples\.num_problems is 9; task 'fake' has 3 train problems"),
    ({"shard_problems": 0}, r"samples\.shard_problems is 0; expected >= 1"),
    ({"k": (1, 5)}, r"samples\.k has 5; expected 1\.\.4 \(samples\.num_samples\)"),
    ({"k": ()}, r"samples\.k is empty"),
    ({"task": Task(HARD, []), "split": "heldout"}, r"has no such problems; expected samples\.split=train"),
])  # fmt: skip
def test_numbers_out_of_range_are_refused_by_key(changes, words):
    with pytest.raises(ValueError, match=words):
        samples(**changes)


def test_k_is_powers_of_two_where_none_is_named():
    assert [checked_k(None, n) for n in (1, 5, 16)] == [(1,), (1, 2, 4), (1, 2, 4, 8, 16)]
    assert checked_k((8, 1, 8), 10) == (1, 8)


def test_the_request_changes_with_whatever_the_rows_depend_on():
    policy = Policy()
    before = samples(policy=policy).request()
    assert before == samples().request() != samples(seed=1).request() != samples(num_samples=5).request()
    policy.weights[1] += 1e-3
    assert weights_of(policy) != before["weights"]
