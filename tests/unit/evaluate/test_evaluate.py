from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import log
from threading import Barrier

import numpy as np
import pytest
import torch

from rrl import rng
from rrl.evaluate import Exact, Sampled
from rrl.metrics import check_names
from rrl.protocols import Outcome
from rrl.ranks import Ranks
from rrl.records import Progress
from rrl.reward.task import TaskReward
from rrl.types import Problem, Rollouts, sequences_of


def problem(name, difficulty, solution):
    return Problem(id=name, prompt=(1,), answer="", solution=solution, task="fake", difficulty=difficulty,
                   max_response=2, stop=(), exact_length=True)


HARD = [problem("h0", "hard", (2, 3)), problem("h1", "hard", (3, 3))]
EASY = [problem("e0", "easy", (3, 2))]
HELDOUT = [problem("x0", "hard", (2, 2)), problem("y0", "easy", (3, 3))]


class FakeTask:
    name = "fake"
    score_range = (0.0, 1.0)

    def __init__(self, train, heldout):
        self._train, self._heldout = train, heldout

    def train_problems(self):
        return list(self._train)

    def eval_problems(self):
        return list(self._heldout)

    def score(self, problem, response):
        solved = response == problem.solution
        return Outcome(float(solved), solved)

    def right_prefix(self, problem):
        return problem.solution[:1] if problem.difficulty == "hard" else ()

    def wrong_prefixes(self, problem):
        right = self.right_prefix(problem)
        return [(t,) for t in (2, 3) if right and (t,) != right]


class TabularPolicy:
    """Token 2 or 3 at each of two places: P(2) = .9 at first, then .4 whatever came before."""

    first = {2: 0.9, 3: 0.1}
    second = {2: 0.4, 3: 0.6}

    def __init__(self):
        self.calls = []

    def logprob(self, sequences):
        rows = [sequences.start_of(i).prefix + sequences.tokens_of(i) for i in range(sequences.num_rows)]
        done = [len(sequences.start_of(i).prefix) for i in range(sequences.num_rows)]
        table = (self.first, self.second)
        each = [log(table[j][t]) for row, d in zip(rows, done, strict=True) for j, t in enumerate(row) if j >= d]
        return torch.tensor(each, dtype=torch.float32), torch.zeros(len(each))

    def rollout(self, starts, *, samples_per_start, step, first_row=0, stream="rollout", greedy=False):
        self.calls.append((stream, first_row, len(starts)))
        rows = []
        for i, start in enumerate(starts):
            for j in range(samples_per_start):
                row = np.array([first_row + i * samples_per_start + j])
                said = []
                for place in range(len(start.prefix), 2):
                    p2 = (self.first, self.second)[place][2]
                    u = rng.uniforms(0, stream, step, row, place)[0]
                    said.append(2 if (p2 > 0.5 if greedy else u < p2) else 3)
                rows.append((start, said))
        sequences = sequences_of(rows)
        zeros = torch.zeros(len(sequences.actions))
        return Rollouts(sequences=sequences, behavior_logprob=zeros, behavior_entropy=zeros,
                        ended=torch.ones(len(rows), dtype=torch.bool))


class FakeValue:
    """Believes in prefixes that begin with token 2."""

    def success(self, starts):
        return np.array([0.7 if s.prefix[:1] == (2,) else 0.3 for s in starts]), np.zeros(len(starts))


class ThreadRank(Ranks):
    """One of two ranks that run as threads and meet in ``gather``."""

    def __init__(self, rank, box, barrier):
        self.size, self.rank, self._box, self._barrier = 2, rank, box, barrier

    def gather(self, items):
        self._box[self.rank] = items
        self._barrier.wait(timeout=10)
        both = self._box[0] + self._box[1]
        self._barrier.wait(timeout=10)
        return both


def at(step):
    return Progress(step=step, sampled_tokens=0, token_budget=100, history=(), first=None, peak=None)


def exact(train=None, heldout=None, value=None, **due):
    due = {"every_steps": 25, "dense_every": 5, "dense_until": 60} | due
    task = FakeTask(HARD + EASY if train is None else train, HELDOUT if heldout is None else heldout)
    return Exact(policy=TabularPolicy(), task=task, value=value or FakeValue(), **due)


def sampled(ranks=None, policy=None, train=None, task=None, **changes):
    numbers = {"num_samples": 4, "k": 2, "max_problems": 10, "every_steps": 25, "dense_every": 5, "dense_until": 0}
    task = task or FakeTask(HARD + EASY if train is None else train, HELDOUT)
    return Sampled(policy=policy or TabularPolicy(), task=task, reward=TaskReward(task=task, timeout_s=60.0), seed=0,
                   ranks=ranks or Ranks(), **(numbers | changes))  # fmt: skip


def test_exact_success_is_the_product_of_probabilities():
    metrics = exact().now(at(0))
    check_names(list(metrics))
    assert metrics["eval/hard_success"] == pytest.approx((0.9 * 0.6 + 0.1 * 0.6) / 2)
    assert metrics["eval/easy_success"] == pytest.approx(0.1 * 0.4)
    assert metrics["eval/heldout_hard_success"] == pytest.approx(0.9 * 0.4)
    assert metrics["eval/heldout_easy_success"] == pytest.approx(0.1 * 0.6)


def test_capability_is_what_follows_the_right_prefix():
    metrics = exact().now(at(0))
    assert metrics["eval/capability"] == pytest.approx(0.6)
    assert metrics["eval/capability_gap"] == pytest.approx(0.6 - 0.3)
    assert metrics["eval/right_prefix_logprob_nats"] == pytest.approx((log(0.9) + log(0.1)) / 2)


def test_greedy_counts_whole_right_responses():
    # Greedy says (2, 3): right for h0, wrong for h1.
    assert exact().now(at(0))["eval/hard_greedy"] == 0.5


def test_right_key_auc_is_the_share_of_wrong_prefixes_ranked_below_the_right_one():
    # h0's right prefix (2,) beats (3,); h1's right prefix (3,) loses to (2,).
    assert exact().now(at(0))["eval/right_key_auc"] == 0.5
    assert exact(train=HARD[:1]).now(at(0))["eval/right_key_auc"] == 1.0

    class Undecided:
        def success(self, starts):
            return np.full(len(starts), 0.5), np.zeros(len(starts))

    assert exact(train=HARD[:1], value=Undecided()).now(at(0))["eval/right_key_auc"] == 0.5


def test_undefined_metrics_are_absent():
    metrics = exact(train=EASY, heldout=[]).now(at(0))
    assert set(metrics) == {"eval/easy_success"}


def test_exact_refuses_a_task_without_solutions():
    with pytest.raises(ValueError, match="use evaluate=sampled"):
        exact(train=[problem("open", "hard", ())])


def test_evaluation_is_due_densely_at_first_and_rarely_later():
    evaluate = exact()
    due = [step for step in range(-3, 130) if evaluate.when_due(at(step))]
    assert due == [*range(0, 61, 5), 75, 100, 125]
    assert [s for s in range(1, 60) if exact(dense_until=0).when_due(at(s))] == [25, 50]


def test_bad_periods_are_refused_by_key():
    with pytest.raises(ValueError, match=r"evaluate\.every_steps is 0"):
        exact(every_steps=0)


def test_sampled_rates_come_near_the_exact_ones():
    metrics = sampled(num_samples=2000, k=2).now(at(0))
    check_names(list(metrics))
    assert metrics["eval/hard_success"] == pytest.approx(0.3, abs=0.02)
    assert metrics["eval/pass_at_1"] == pytest.approx(metrics["eval/hard_success"])
    assert metrics["eval/pass_at_k"] == pytest.approx(((1 - 0.46**2) + (1 - 0.94**2)) / 2, abs=0.02)
    assert metrics["eval/capability"] == pytest.approx(0.6, abs=0.02)
    assert metrics["eval/heldout_easy_success"] == pytest.approx(0.06, abs=0.02)
    assert metrics["eval/hard_greedy"] == 0.5
    assert metrics["eval/unsolvable_frac"] == 0.0
    assert metrics["eval/right_prefix_logprob_nats"] == pytest.approx((log(0.9) + log(0.1)) / 2)


def test_unsolvable_is_the_share_of_problems_without_a_solved_sample():
    never = problem("never", "hard", (4, 4))
    policy = TabularPolicy()
    policy.first, policy.second = {**policy.first, 4: 1e-9}, {**policy.second, 4: 1e-9}
    metrics = sampled(policy=policy, train=[*HARD[:1], never], num_samples=100).now(at(0))
    assert metrics["eval/unsolvable_frac"] == 0.5


def test_two_ranks_measure_what_one_measures():
    box, barrier = [None, None], Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(sampled(ranks=ThreadRank(rank, box, barrier)).now, at(0)) for rank in (0, 1)]
        results = [run.result(timeout=20) for run in runs]
    assert results == [sampled().now(at(0))] * 2


def test_sampling_streams_are_evaluations_own():
    policy = TabularPolicy()
    sampled(policy=policy).now(at(0))
    assert all(stream.startswith("evaluate.") for stream, _, _ in policy.calls)
    assert len({stream for stream, _, _ in policy.calls}) == len(policy.calls) == 6


def test_max_problems_keeps_a_fixed_choice():
    many = [problem(f"h{i}", "hard", (2, 3)) for i in range(50)]
    one, other = sampled(train=many, max_problems=5), sampled(train=many, max_problems=5)
    assert len(one._groups["hard"]) == 5 and one._groups == other._groups


def test_k_beyond_the_samples_is_refused():
    with pytest.raises(ValueError, match=r"evaluate\.k is 5; expected 1\.\.4"):
        sampled(k=5)


def test_a_scorer_that_fails_costs_the_evaluation_its_problem_and_not_the_run(caplog):
    """It was guarded in training alone: the same error ended the run at its next evaluation."""

    class Fails(FakeTask):
        def score(self, problem, response):
            if problem.id in ("h1", "y0"):
                raise SystemExit(0)
            return super().score(problem, response)

    whole, some = sampled().now(at(0)), sampled(task=Fails(HARD + EASY, HELDOUT)).now(at(0))
    alone = sampled(train=HARD[:1] + EASY).now(at(0))
    assert set(whole) - set(some) == {"eval/heldout_easy_success"}  # its one problem had no verdict
    for name in ("eval/hard_success", "eval/pass_at_k", "eval/unsolvable_frac", "eval/hard_greedy", "eval/capability"):
        assert some[name] == alone[name]
    assert some["eval/heldout_hard_success"] == whole["eval/heldout_hard_success"]
    assert "evaluate.hard at step 0: 1 of 2 problems have no verdict and are left out" in caplog.text
    check_names(list(some))
