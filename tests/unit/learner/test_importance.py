"""Truncated importance sampling between sampler and trainer: by hand, off, and where the two agree."""

import math
from dataclasses import replace

import pytest
import torch

from rrl.ops.importance import trainer_terms, truncated_weight
from rrl.types import Start
from tests.unit.learner.tabular import SoloRanks, TabularPolicy, ThreadRanks, estimated_of, problem, progress
from tests.unit.learner.test_learner import gradient, learner_of, ppo, random_estimated


def sampled_by_another(term, shift):
    """The same rows, sampled with log-probs that lie ``shift`` above the trainer's."""
    rollouts = replace(term.rollouts, behavior_logprob=term.rollouts.behavior_logprob + torch.as_tensor(shift).float())
    return replace(term, scored=replace(term.scored, rollouts=rollouts))


def test_a_weight_by_hand():
    log = torch.tensor
    weight, whole = truncated_weight(log([0.6, 0.3, 0.2]).log(), log([0.2, 0.6, 0.2]).log(), 2.0)
    torch.testing.assert_close(whole, torch.tensor([3.0, 0.5, 1.0]))
    torch.testing.assert_close(weight, torch.tensor([2.0, 0.5, 1.0]))


def test_two_tokens_by_hand_and_what_is_logged():
    # w = 3 -> 2 and 1/2: advantages (1, 2) count as (2, 1), and every ratio pi / pi_old is 1.
    policy, start = TabularPolicy(), Start(problem=problem())
    plain = estimated_of([(start, (3, 4))], [2.0, 1.0], policy)
    off = sampled_by_another(estimated_of([(start, (3, 4))], [1.0, 2.0], policy), [-math.log(3.0), math.log(2.0)])
    want = gradient(TabularPolicy(), [(plain, 1.0)])
    torch.testing.assert_close(gradient(TabularPolicy(), [(off, 1.0)], importance_cap=2.0), want, rtol=1e-6, atol=1e-9)

    metrics = learner_of(policy, importance_cap=2.0).update([(off, 1.0)], None, progress())
    assert metrics["learn/truncated_frac"] == 0.5
    # k3 = w - 1 - log w: (3 - 1 - log 3 + 1/2 - 1 + log 2) / 2.
    assert metrics["learn/kl_sampler_nats"] == pytest.approx((1.5 - math.log(1.5)) / 2, rel=1e-5)
    assert metrics["rollout/logprob_gap_nats"] == pytest.approx(math.log(3.0), rel=1e-5)
    assert metrics["learn/clip_frac"] < 1.0


def test_without_it_the_clip_would_have_thrown_the_first_token_away():
    # Ratio 3 with A > 0 lies beyond 1.2: plain PPO learns nothing from it.
    policy, start = TabularPolicy(), Start(problem=problem())
    off = sampled_by_another(estimated_of([(start, (3,))], [1.0], policy), [-math.log(3.0)])
    assert gradient(TabularPolicy(), [(off, 1.0)]).abs().sum() == 0.0
    assert gradient(TabularPolicy(), [(off, 1.0)], importance_cap=2.0).abs().sum() > 0.0


@pytest.mark.parametrize("cap", [1.0, 2.0, 1e9])
def test_where_sampler_and_trainer_agree_nothing_changes_by_a_bit(cap):
    policy = TabularPolicy()
    replayed = random_estimated(5, seed=3, prefix_tokens=2, policy=policy)
    terms = [(random_estimated(6, policy=policy), 0.7), (replayed, 0.3)]
    runs = []
    for numbers in ({}, {"importance_cap": cap}):
        mine = TabularPolicy()
        learner_of(mine, objective=ppo(entropy_coef=0.1), **numbers).update(terms, None, progress())
        runs.append(mine.logits.detach().clone())
    assert torch.equal(*runs)


def test_stored_answers_keep_the_log_probs_of_their_time():
    policy = TabularPolicy()
    now, stored = Start(problem=problem()), Start(problem=problem(), recalled="joined")
    term = sampled_by_another(estimated_of([(now, (3,)), (stored, (4,))], [1.0, 1.0], policy), [-1.0, -1.0])
    ((seen, share),), metrics = trainer_terms([(term, 1.0)], policy, 2.0, SoloRanks())
    assert share == 1.0 and seen.advantage.tolist() == [2.0, 1.0]
    assert seen.rollouts.behavior_logprob[1] == term.rollouts.behavior_logprob[1]
    assert metrics["learn/truncated_frac"] == 1.0  # of the one token that was sampled now


def test_two_ranks_log_what_one_would():
    policy = TabularPolicy()
    rows = [random_estimated(4, seed=seed, policy=policy) for seed in (0, 1)]
    halves = [sampled_by_another(half, shift) for half, shift in zip(rows, (0.3, -0.9), strict=True)]
    one = [trainer_terms([(half, 1.0)], policy, 2.0, SoloRanks())[1] for half in halves]
    both = ThreadRanks.together([
        lambda ranks, half=half: trainer_terms([(half, 1.0)], policy, 2.0, ranks)[1] for half in halves
    ])
    sizes = [len(half.advantage) for half in halves]
    for name in ("learn/truncated_frac", "learn/kl_sampler_nats"):
        mean = sum(n * m[name] for n, m in zip(sizes, one, strict=True)) / sum(sizes)
        assert both[0][name] == both[1][name] == pytest.approx(mean)
    assert both[0]["rollout/logprob_gap_nats"] == max(m["rollout/logprob_gap_nats"] for m in one)


def test_a_cap_below_one_is_refused():
    with pytest.raises(ValueError, match=r"learner.importance_cap is 0.5; expected >= 1, or 0"):
        learner_of(TabularPolicy(), importance_cap=0.5)
