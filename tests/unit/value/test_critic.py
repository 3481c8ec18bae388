"""The bounded critic on a tabular trunk, own and shared."""

import math

import numpy as np
import pytest
import torch

from rrl.types import Estimated, Rollouts, Scored, Start, concat_sequences
from rrl.value.critic import Critic
from rrl.value.critic_head import CriticHead
from tests.unit.learner.tabular import (
    SoloRanks,
    TabularPolicy,
    ThreadRanks,
    estimated_of,
    problem,
    progress,
    random_estimated,
    scored_of,
)

ESTIMATION = {
    "gamma": 1.0, "lam_actor": 1.0, "lam_critic": 1.0, "lam_alpha": 0.0, "bootstrap_truncated": True,
    "normalise": "none", "micro_batch_rows": 0,
}
FITTING = {
    "loss": "bce", "success_coef": 1.0, "value_clip": 0.0, "lr": 0.05, "lr_final_frac": 1.0, "betas": (0.9, 0.95),
    "eps": 1e-5, "epochs": 2, "minibatches": 2, "warm_up_steps": 2, "grad_norm": 1.0, "micro_batch_rows": 0,
}


class Task:
    score_range = (0.0, 1.0)


class WideTask:
    score_range = (-1.0, 3.0)


def critic_of(ranks=None, task=None, **changed):
    return Critic(
        policy=TabularPolicy(), task=task or Task(), ranks=ranks or SoloRanks(), seed=0, init="scratch", num_layers=1,
        **ESTIMATION | FITTING | changed,
    )


def head_of(policy, detach, **changed):
    return CriticHead(
        policy=policy, task=Task(), ranks=SoloRanks(), seed=0, detach=detach, **ESTIMATION | FITTING | changed
    )


def parameters(critic):
    return critic.state_dict()["parameters"]


BARE = Start(problem=problem())
PREFIXED = Start(problem=problem(), prefix=(1, 2))


def test_an_untrained_critic_says_the_middle_and_advantages_are_return_minus_it():
    scored = scored_of([(BARE, (1, 2)), (BARE, (3,))], [1.0, 0.0])
    estimated = critic_of(task=WideTask()).estimate(scored)
    assert estimated.value.tolist() == [1.0, 1.0, 1.0]
    assert estimated.success.tolist() == [0.5, 0.5, 0.5]
    assert estimated.advantage.tolist() == [0.0, 0.0, -1.0]
    assert estimated.target_return.tolist() == [1.0, 1.0, 0.0]


def test_advantage_and_target_have_lambdas_of_their_own():
    # V = .5 everywhere, R = 1 on the last of two. lambda 1 target: 1, 1. lambda 0 advantage: deltas 0, .5.
    estimated = critic_of(lam_actor=0.0).estimate(scored_of([(BARE, (1, 2))], [1.0]))
    assert estimated.advantage.tolist() == [0.0, 0.5]
    assert estimated.target_return.tolist() == [1.0, 1.0]


def test_a_cut_row_goes_on_with_the_value_of_its_last_state():
    scored = scored_of([(BARE, (1,) * 8), (BARE, (2,))], [0.0, 0.0], ended=[False, True])
    assert critic_of().estimate(scored).target_return.tolist() == [0.5] * 8 + [0.0]
    assert critic_of(bootstrap_truncated=False).estimate(scored).target_return.tolist() == [0.0] * 9


def test_the_bootstrap_state_is_the_one_behind_the_last_action():
    critic = critic_of()
    for _ in range(20):
        critic.fit(random_estimated(8, seed=1), progress())
    scored = scored_of([(PREFIXED, (3, 1, 4, 0, 2, 1))], [0.0], ended=[False])
    target = critic.estimate(scored).target_return
    longer = Start(problem=problem(max_response=9), prefix=(1, 2, 3, 1, 4, 0, 2, 1))
    behind = critic.estimate(scored_of([(longer, (0,))], [0.0])).value[0]
    torch.testing.assert_close(target, behind.expand(6))


def test_the_value_before_the_first_action_is_the_starts():
    critic = critic_of()
    critic.fit(random_estimated(8, seed=1), progress())
    mean, std = critic.success([BARE, PREFIXED])
    estimated = critic.estimate(scored_of([(BARE, (1, 2)), (PREFIXED, (3,))], [0.0, 0.0]))
    np.testing.assert_allclose(mean, [estimated.success[0], estimated.success[2]], rtol=1e-6)
    assert std.tolist() == [0.0, 0.0]
    assert mean[0] != mean[1]


def test_an_advantage_depends_on_its_row_alone():
    critic = critic_of()
    critic.fit(random_estimated(8, seed=1), progress())
    rows = [(BARE, (1, 2)), (PREFIXED, (3,)), (BARE, (4, 4, 4))]
    together = critic.estimate(scored_of(rows, [1.0, 0.0, 0.5]))
    alone = critic.estimate(scored_of(rows[1:2], [0.0]))
    assert together.advantage[2].item() == alone.advantage[0].item()


def test_easy_replayed_rows_leave_whitened_fresh_advantages_alone():
    fresh, easy = [(BARE, (1,)), (BARE, (2,)), (BARE, (3,))], [(PREFIXED, (1,)), (PREFIXED, (2,))]
    critic = critic_of(normalise="per_stream")
    alone = critic.estimate(scored_of(fresh, [0.0, 0.0, 0.4])).advantage
    mixed = critic.estimate(scored_of(fresh + easy, [0.0, 0.0, 0.4, 1.0, 1.0])).advantage
    assert mixed[:3].tolist() == alone.tolist()
    assert mixed[3:].tolist() == [0.0, 0.0]


def test_fitting_finds_the_mean_return_of_a_state():
    # One start, ten rows, four solved with score 1: both heads go to .4.
    estimated = estimated_of([(BARE, (1,))] * 10, None, scores=[1.0] * 4 + [0.0] * 6, target=[1.0] * 4 + [0.0] * 6)
    critic = critic_of(lr=0.03, minibatches=1)
    for _ in range(150):
        metrics = critic.fit(estimated, progress())
    assert critic.success([BARE])[0] == pytest.approx([0.4], abs=0.01)
    assert critic.estimate(estimated.scored).value[0].item() == pytest.approx(0.4, abs=0.01)
    entropy = -(0.4 * math.log(0.4) + 0.6 * math.log(0.6))
    assert metrics["value/loss"] == pytest.approx(2 * entropy, abs=0.01)


def test_warm_up_takes_its_own_number_of_full_batch_steps():
    for step, steps in ((-1, 3), (0, 4)):
        critic = critic_of(warm_up_steps=3)
        critic.fit(random_estimated(8), progress(step=step))
        assert critic.state_dict()["optimizer"]["step"][0].item() == steps


def test_fresh_and_replayed_rows_are_averaged_apart():
    # 2 fresh rows of one token, 2 replayed rows of three: each stream weighs half, not 2/8 and 6/8.
    rows = [(BARE, (1,)), (BARE, (1,)), (PREFIXED, (1, 1, 1)), (PREFIXED, (1, 1, 1))]
    estimated = estimated_of(rows, None, scores=[1.0, 1.0, 0.0, 0.0], target=[1.0] * 2 + [0.25] * 6)
    metrics = critic_of(loss="mse", success_coef=0.0, epochs=1, minibatches=1).fit(estimated, progress())
    assert metrics["value/loss"] == pytest.approx(0.5 * 0.25 + 0.5 * 0.0625)


def test_the_learning_rate_follows_the_token_budget():
    critic = critic_of(lr_final_frac=0.2)
    assert critic.fit(random_estimated(4), progress(done_frac=0.5))["value/lr"] == pytest.approx(0.03)


def test_calibration_is_of_the_estimates_made_before_the_fit():
    estimated = estimated_of([(BARE, (1,)), (BARE, (2,))], None, scores=[1.0, 0.0], success=[1.0, 0.0])
    assert critic_of().fit(estimated, progress())["value/brier_fresh"] == 0.0


def test_micro_batches_change_nothing():
    whole, pieces = critic_of(), critic_of(micro_batch_rows=1)
    estimated = random_estimated(9, seed=4)
    left, right = whole.fit(estimated, progress()), pieces.fit(estimated, progress())
    assert left == pytest.approx(right, rel=1e-6)
    for a, b in zip(parameters(whole), parameters(pieces), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    torch.testing.assert_close(whole.estimate(estimated.scored).value, pieces.estimate(estimated.scored).value)
    np.testing.assert_allclose(whole.success([BARE, PREFIXED])[0], pieces.success([BARE, PREFIXED])[0])


@pytest.mark.parametrize("step", [-1, 2])
def test_two_ranks_fit_as_one(step):
    rows = random_estimated(6, seed=4), random_estimated(5, seed=5, prefix_tokens=2)
    solo = critic_of()
    metrics = solo.fit(_joined(*rows), progress(step=step))
    left, right = _joined(rows[0], rows[1].rows(torch.arange(0, 1))), rows[1].rows(torch.arange(1, 5))

    def rank(mine):
        def work(ranks):
            critic = critic_of(ranks)
            return critic.fit(mine, progress(step=step)), parameters(critic)
        return work

    for got, weights in ThreadRanks.together([rank(left), rank(right)]):
        assert got == pytest.approx(metrics, rel=1e-9)
        for a, b in zip(weights, parameters(solo), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def _joined(first, second):
    """Both parts' rows as one Estimated."""
    def cat(name, of=lambda e: e):
        return torch.cat([getattr(of(first), name), getattr(of(second), name)])

    rollouts = Rollouts(
        sequences=concat_sequences([first.sequences, second.sequences]),
        **{n: cat(n, lambda e: e.rollouts) for n in ("behavior_logprob", "behavior_entropy", "ended")},
    )
    scored = Scored(rollouts=rollouts, **{n: cat(n, lambda e: e.scored) for n in ("score", "solved", "reward")})
    return Estimated(scored=scored, **{n: cat(n) for n in ("value", "success", "advantage", "target_return")})


@pytest.mark.parametrize("make", [critic_of, lambda: head_of(TabularPolicy(), True)])
def test_saved_loaded_and_continued_is_never_stopped(make):
    unbroken, before, after = make(), make(), make()
    for critic in (unbroken, before):
        critic.fit(random_estimated(8, seed=1), progress(step=0))
    after.load_state_dict(before.state_dict())
    for critic in (unbroken, after):
        critic.fit(random_estimated(8, seed=2), progress(step=1))
    for a, b in zip(parameters(unbroken), parameters(after), strict=True):
        assert torch.equal(a, b)


def test_a_detached_head_leaves_the_policy_alone():
    policy = TabularPolicy()
    before = policy.logits.detach().clone()
    head = head_of(policy, detach=True)
    for _ in range(2):
        head.fit(random_estimated(8), progress())
    assert torch.equal(policy.logits, before)
    assert policy.logits.grad is None
    assert head.success([BARE])[0] != 0.5


def test_an_attached_head_trains_the_policys_trunk_and_leaves_no_gradient_behind():
    policy = TabularPolicy()
    before = policy.logits.detach().clone()
    head = head_of(policy, detach=False)
    for _ in range(2):
        head.fit(random_estimated(8), progress())
    assert not torch.equal(policy.logits, before)
    assert policy.logits.grad is None


def test_no_rows_are_no_trouble():
    critic = critic_of()
    empty = random_estimated(2).rows(torch.zeros(0, dtype=torch.int64))
    assert critic.estimate(empty.scored).value.tolist() == []
    assert critic.fit(empty, progress()) == {}
    assert [x.tolist() for x in critic.success([])] == [[], []]


def test_a_gradient_that_is_not_finite_stops_before_the_step():
    critic = critic_of()
    before = parameters(critic)
    bad = estimated_of([(BARE, (1,))], None, target=[math.nan])
    with pytest.raises(FloatingPointError, match="value gradient's norm is nan at step 3"):
        critic.fit(bad, progress(step=3))
    assert all(torch.equal(a, b) for a, b in zip(before, parameters(critic), strict=True))


@pytest.mark.parametrize(
    ("key", "value"),
    [("gamma", 1.1), ("lam_actor", -0.1), ("epochs", 0), ("warm_up_steps", -1), ("grad_norm", 0.0), ("betas", (0.9,)),
     ("eps", 0.0)],
)
def test_impossible_numbers_are_refused_by_their_key(key, value):
    with pytest.raises(ValueError, match=f"value.{key} is"):
        critic_of(**{key: value})


def test_a_task_with_one_score_only_cannot_have_a_bounded_critic():
    class Flat:
        score_range = (1.0, 1.0)

    with pytest.raises(ValueError, match="score_range"):
        critic_of(task=Flat())
