"""The learner on a tabular policy whose every gradient can be followed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rrl.learner import NonFiniteLoss, PolicyLearner
from rrl.objective.ppo_clip import PPOClip
from rrl.types import Lesson, Start, sequences_of
from tests.unit.learner.tabular import (
    SoloRanks,
    TabularPolicy,
    ThreadRanks,
    estimated_of,
    problem,
    progress,
    random_estimated,
)

NUMBERS = {
    "lr": 1e-2, "lr_final_frac": 0.1, "betas": (0.9, 0.95), "eps": 1e-5, "epochs": 2, "minibatches": 2, "deal": "rows",
    "micro_batch_rows": 0, "micro_batch_tokens": 0,
    "grad_norm": 1.0, "kl_coef": 0.0, "kl_estimator": "k2", "reference_every": 0,
    "solved_coef": 0.0, "importance_cap": 0.0,
}
ONCE = {"epochs": 1, "minibatches": 1, "grad_norm": math.inf}


def ppo(**changed):
    numbers = {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0.0, "entropy_coef": 0.0, "aggregation": "token_mean"}
    return PPOClip(**numbers | changed)


def learner_of(policy, ranks=None, objective=None, reference=None, **changed):
    return PolicyLearner(
        policy=policy, reference=reference or TabularPolicy(seed=9), objective=objective or ppo(),
        ranks=ranks or SoloRanks(), seed=0, **NUMBERS | changed,
    )


def lesson_of(rows, weights):
    return Lesson(sequences=sequences_of(rows), weight=torch.tensor(weights, dtype=torch.float32))


def gradient(policy, terms, lesson=None, **changed):
    """The gradient of one full-batch step from ``policy``, read off Adam's first moment."""
    learner = learner_of(policy, **ONCE | changed)
    learner.update(terms, lesson, progress())
    return learner.state_dict()["exp_avg"][0] / 0.1


def test_the_prefix_of_a_replayed_row_learns_nothing():
    # Prefix (1, 2) from prompt 0: contexts (0, pos 0) and (1, pos 1). Sampled (3, 4): (2, pos 2) and (3, pos 3).
    policy = TabularPolicy()
    before = policy.logits.detach().clone()
    start = Start(problem=problem(), prefix=(1, 2))
    term = estimated_of([(start, (3, 4))], [1.0, -1.0], policy)
    learner_of(policy, **ONCE).update([(term, 1.0)], None, progress())
    moved = (policy.logits.detach() - before).abs().sum(-1) > 0
    assert torch.nonzero(moved).tolist() == [[2, 2], [3, 3]]
    assert torch.equal(policy.logits.detach()[0, 0], before[0, 0])


@pytest.mark.parametrize("boundary", [0, 1, 4])
def test_exactly_the_tokens_behind_the_boundary_are_trained(boundary):
    response = (1, 2, 3, 4, 1)
    policy = TabularPolicy()
    start = Start(problem=problem(), prefix=response[:boundary])
    term = estimated_of([(start, response[boundary:])], [1.0] * (5 - boundary), policy)
    touched = gradient(policy, [(term, 1.0)]).abs().sum((0, 2)) > 0
    assert touched.tolist() == [boundary <= t < 5 for t in range(9)]


def test_one_token_by_hand():
    # On policy, A = 2: loss = -2, d/dlogits = -2 (onehot - p).
    policy = TabularPolicy()
    term = estimated_of([(Start(problem=problem()), (3,))], [2.0], policy)
    p = policy.logits.detach()[0, 0].softmax(0)
    got = gradient(policy, [(term, 1.0)])[0, 0]
    torch.testing.assert_close(got, -2.0 * (torch.eye(5, dtype=torch.float64)[3] - p), rtol=1e-6, atol=1e-7)


def test_fresh_gradient_is_the_same_whatever_was_replayed():
    def policy():
        return TabularPolicy()

    fresh = random_estimated(6, seed=1, policy=policy())
    replayed = random_estimated(4, seed=2, prefix_tokens=2, policy=policy())
    blind = replace(replayed, advantage=torch.zeros_like(replayed.advantage))
    alone = gradient(policy(), [(fresh, 1.0)])
    mixed = gradient(policy(), [(fresh, 0.75), (blind, 0.25)])
    torch.testing.assert_close(mixed, 0.75 * alone)
    both = gradient(policy(), [(fresh, 0.75), (replayed, 0.25)])
    torch.testing.assert_close(both, 0.75 * alone + 0.25 * gradient(policy(), [(replayed, 1.0)]))


def test_a_lesson_is_minus_weight_times_logprob():
    policy = TabularPolicy()
    term = estimated_of([(Start(problem=problem()), (3,))], [0.0], policy)
    lesson = lesson_of([(Start(problem=problem()), (1, 2))], [0.5, 0.25])
    got = gradient(TabularPolicy(), [(term, 1.0)], lesson)
    p = policy.logits.detach().softmax(-1)
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(got[0, 0], -0.5 * (eye[1] - p[0, 0]))
    torch.testing.assert_close(got[1, 1], -0.25 * (eye[2] - p[1, 1]))


def test_each_minibatch_carries_the_lesson_at_the_magnitude_of_the_step():
    # Two lesson rows of weight 1/2 from one context, one a mini-batch: each steps as if it were the whole lesson.
    policy = TabularPolicy()
    term = estimated_of([(Start(problem=problem()), (3,))] * 2, [0.0, 0.0], policy)
    lesson = lesson_of([(Start(problem=problem()), (1,))] * 2, [0.5, 0.5])
    metrics = learner_of(policy, epochs=1, lr=0.0).update([(term, 1.0)], lesson, progress())
    minus_logprob = -policy.logits.detach()[0, 0].log_softmax(0)[1].item()
    assert metrics["learn/lesson_loss"] == pytest.approx(minus_logprob)


def test_without_replay_the_numbers_are_exactly_those_of_plain_ppo():
    empty = random_estimated(2, prefix_tokens=1).rows(torch.zeros(0, dtype=torch.int64))
    plain, other = TabularPolicy(), TabularPolicy()
    term = random_estimated(8, policy=plain)
    left = learner_of(plain).update([(term, 1.0)], None, progress())
    right = learner_of(other).update([(term, 1.0), (empty, 0.0)], None, progress())
    assert left == right
    assert torch.equal(plain.logits, other.logits)


@pytest.mark.parametrize(
    "limit", [{"micro_batch_rows": 1}, {"micro_batch_tokens": 1}, {"micro_batch_tokens": 6}], ids=str
)
@pytest.mark.parametrize("with_kl", [0.0, 0.3])
def test_one_by_eight_is_eight_by_one(with_kl, limit):
    whole, pieces = TabularPolicy(), TabularPolicy()
    for policy, size in ((whole, {}), (pieces, limit)):
        terms = [(random_estimated(5, seed=1, policy=policy), 0.6), (random_estimated(3, 2, 2, policy), 0.4)]
        lesson = lesson_of([(Start(problem=problem()), (1, 2)), (Start(problem=problem("q")), (4,))], [0.1, 0.2, 0.3])
        metrics = learner_of(policy, kl_coef=with_kl, **size).update(terms, lesson, progress())
        assert ("learn/kl_loss" in metrics) == (with_kl > 0)
    torch.testing.assert_close(whole.logits, pieces.logits, rtol=0, atol=1e-12)


def test_two_ranks_learn_as_one():
    lesson_rows = [(Start(problem=problem()), (1, 2)), (Start(problem=problem("q")), (4, 3))]
    weights = [0.1, 0.1, 0.2, 0.2]
    solo = TabularPolicy()
    fresh, replayed = random_estimated(7, seed=1, policy=solo), random_estimated(4, 2, 2, solo)
    metrics = learner_of(solo, kl_coef=0.1).update(
        [(fresh, 0.6), (replayed, 0.4)], lesson_of(lesson_rows, weights), progress(step=3)
    )

    def rank(policy, fresh_rows, replayed_rows, lesson):
        def work(ranks):
            terms = [(fresh.rows(torch.tensor(fresh_rows, dtype=torch.int64)), 0.6)]
            terms.append((replayed.rows(torch.tensor(replayed_rows, dtype=torch.int64)), 0.4))
            return learner_of(policy, ranks, kl_coef=0.1).update(terms, lesson, progress(step=3))
        return work

    left, right = TabularPolicy(), TabularPolicy()
    by_rank = ThreadRanks.together([
        rank(left, [0, 1, 2, 3, 4, 5], [], lesson_of(lesson_rows[:1], weights[:2])),
        rank(right, [6], [0, 1, 2, 3], lesson_of(lesson_rows[1:], weights[2:])),
    ])
    torch.testing.assert_close(left.logits, solo.logits, rtol=0, atol=1e-12)
    assert torch.equal(left.logits, right.logits)
    assert by_rank[0] == pytest.approx(metrics, rel=1e-9)
    assert by_rank[0] == by_rank[1]


def test_metrics_of_one_token_by_hand():
    # Behaviour gave the token half the policy's probability: ratio 2, outside 1 +- .2, A > 0 so no gradient.
    policy, reference = TabularPolicy(), TabularPolicy(seed=9)
    term = estimated_of([(Start(problem=problem()), (3,))], [1.0], policy)
    old = term.rollouts.behavior_logprob - math.log(2.0)
    term = replace(term, scored=replace(term.scored, rollouts=replace(term.rollouts, behavior_logprob=old)))
    learner = learner_of(policy, reference=reference, **ONCE | {"reference_every": 5})
    metrics = learner.update([(term, 1.0)], None, progress(step=10, done_frac=0.5))
    p = policy.logits.detach()[0, 0].log_softmax(0)
    q = reference.logits.detach()[0, 0].log_softmax(0)
    assert metrics["learn/clip_frac"] == 1.0
    assert metrics["learn/log_ratio_max_nats"] == pytest.approx(math.log(2.0), rel=1e-5)
    assert metrics["learn/zero_advantage_frac"] == 0.0
    assert metrics["learn/loss"] == pytest.approx(-1.2)
    assert metrics["learn/kl_behavior_nats"] == pytest.approx(2 - 1 - math.log(2.0), rel=1e-5)
    assert metrics["learn/kl_reference_nats"] == pytest.approx((p[3] - q[3]).item(), rel=1e-5)
    assert metrics["learn/entropy_nats"] == pytest.approx(-(p.exp() * p).sum().item())
    assert metrics["learn/grad_norm"] == 0.0
    assert metrics["learn/lr"] == pytest.approx(0.0055)  # 1e-2, half way to a tenth
    assert "learn/lesson_loss" not in metrics
    assert "learn/kl_loss" not in metrics


def test_the_reference_is_asked_only_when_due():
    policy = TabularPolicy()
    term = random_estimated(2, policy=policy)
    learner = learner_of(policy, reference_every=5)
    assert "learn/kl_reference_nats" not in learner.update([(term, 1.0)], None, progress(step=4))
    assert "learn/kl_reference_nats" in learner.update([(term, 1.0)], None, progress(step=5))


def test_the_kl_loss_pulls_towards_the_reference():
    # k2: d/dlogprob = log p - log q, on one token; advantage 0, so nothing else pulls.
    policy, reference = TabularPolicy(), TabularPolicy(seed=9)
    term = estimated_of([(Start(problem=problem()), (3,))], [0.0], policy)
    p, q = policy.logits.detach()[0, 0].log_softmax(0), reference.logits.detach()[0, 0].log_softmax(0)
    got = gradient(TabularPolicy(), [(term, 1.0)], reference=reference, kl_coef=0.5)[0, 0]
    want = 0.5 * (p[3] - q[3]) * (torch.eye(5, dtype=torch.float64)[3] - p.exp())
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


def test_a_nan_names_its_rows_and_leaves_the_weights_alone():
    policy = TabularPolicy()
    before = policy.logits.detach().clone()
    fresh = estimated_of([(Start(problem=problem("a")), (1,)), (Start(problem=problem("b")), (2,))], [1.0, 1.0], policy)
    rows = [(Start(problem=problem("c"), prefix=(1,)), (1,)), (Start(problem=problem("d"), prefix=(1,)), (1, 2))]
    replayed = estimated_of(rows, [1.0, 1.0, math.nan], policy)
    learner = learner_of(policy, epochs=1, minibatches=1)
    with pytest.raises(NonFiniteLoss, match="step 7: row 3 of problem 'd'") as caught:
        learner.update([(fresh, 0.5), (replayed, 0.5)], None, progress(step=7))
    assert (caught.value.step, caught.value.rows) == (7, ((3, "d"),))
    assert torch.equal(policy.logits, before)
    assert learner.state_dict()["exp_avg"] == [None]


def test_a_nan_on_one_rank_stops_all():
    def rank(advantage):
        def work(ranks):
            policy = TabularPolicy()
            term = estimated_of([(Start(problem=problem("x")), (1,))], [advantage], policy)
            with pytest.raises(NonFiniteLoss) as caught:
                learner_of(policy, ranks, epochs=1, minibatches=1).update([(term, 1.0)], None, progress())
            return caught.value.rows
        return work

    assert ThreadRanks.together([rank(1.0), rank(math.inf)]) == [((1, "x"),), ((1, "x"),)]


def test_saved_loaded_and_continued_is_never_stopped():
    unbroken, resumed = TabularPolicy(), TabularPolicy()
    term = random_estimated(8, policy=unbroken)
    first, before = learner_of(unbroken), learner_of(resumed)
    for learner in (first, before):
        learner.update([(term, 1.0)], None, progress(step=0))
    after = learner_of(resumed)
    after.load_state_dict(before.state_dict())
    for learner in (first, after):
        learner.update([(term, 1.0)], None, progress(step=1, done_frac=0.3))
    assert torch.equal(unbroken.logits, resumed.logits)


def test_a_state_of_other_sizes_is_refused():
    with pytest.raises(ValueError, match="checkpoint was written with other"):
        learner_of(TabularPolicy()).load_state_dict({k: [torch.zeros(3)] for k in ("step", "exp_avg", "exp_avg_sq")})


def test_no_rows_no_step():
    policy = TabularPolicy()
    empty = random_estimated(2).rows(torch.zeros(0, dtype=torch.int64))
    assert learner_of(policy).update([(empty, 1.0)], None, progress()) == {}


def test_the_order_of_rows_is_pure_in_seed_step_and_epoch():
    runs = []
    for _ in range(2):
        policy = TabularPolicy()
        np.random.seed(0)  # noqa: NPY002 nothing global may matter
        learner_of(policy).update([(random_estimated(9, policy=policy), 1.0)], None, progress(step=2))
        runs.append(policy.logits.detach())
        torch.manual_seed(5)
    assert torch.equal(*runs)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0), ("minibatches", 0), ("micro_batch_rows", -1), ("micro_batch_tokens", -1),
        ("grad_norm", 0.0), ("kl_coef", -0.1),
        ("betas", (0.9,)), ("eps", 0.0),
    ],
)
def test_impossible_numbers_are_refused_by_their_key(key, value):
    with pytest.raises(ValueError, match=f"learner.{key} is"):
        learner_of(TabularPolicy(), **{key: value})
