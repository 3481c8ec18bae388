"""reinforce, asymre and cispo: weights on log pi that no gradient flows through. Numbers by hand."""

import math

import pytest
import torch

from rrl.objective.asymre import AsymRE
from rrl.objective.binding import check_aggregation
from rrl.objective.cispo import CISPO
from rrl.objective.ppo_clip import PPOClip
from rrl.objective.reinforce import Reinforce
from rrl.types import Start
from tests.unit.learner.tabular import estimated_of, problem

START = Start(problem=problem(max_response=40))
SHARED = {"entropy_coef": 0.0, "aggregation": "token_mean"}


def one_token(objective, logprob, advantage):
    """(loss, d_logprob) of one token whose behaviour log-prob is 0."""
    token_loss = objective.bind(estimated_of([(START, (1,))], [advantage]), 1.0, 1, 1)
    x = torch.tensor([logprob], dtype=torch.float64)
    loss, slope, _ = token_loss(x, torch.zeros_like(x), torch.tensor([0]))
    return loss.item(), slope.item()


def test_reinforce_is_minus_advantage_times_log_prob():
    assert one_token(Reinforce(**SHARED), -0.5, 2.0) == pytest.approx((1.0, -2.0))
    assert one_token(Reinforce(**SHARED), -0.5, -2.0) == pytest.approx((-1.0, 2.0))


@pytest.mark.parametrize(
    ("ratio", "weight"), [(1.0, 1.0), (1.2, 1.2), (9.0, 5.0), (0.01, 0.01)]
)
def test_cispo_clips_the_weight_and_keeps_the_gradient(ratio, weight):
    objective = CISPO(clip_low=1.0, clip_high=4.0, **SHARED)
    assert one_token(objective, math.log(ratio), 2.0) == pytest.approx((-2 * weight * math.log(ratio), -2 * weight))


def test_asymre_lowers_the_baseline_so_good_rows_teach_more():
    objective = AsymRE(delta=-0.1, **SHARED)
    assert one_token(objective, -1.0, 0.5) == pytest.approx((0.6, -0.6))
    assert one_token(objective, -1.0, -0.5) == pytest.approx((-0.4, 0.4))
    assert one_token(objective, -1.0, 0.0) == (0.0, 0.0)  # a group of equal rewards tells nothing


def test_the_constant_divisor_is_rows_times_the_longest_response():
    rows = estimated_of([(START, (1, 2)), (START, (1,) * 20)], [1.0] * 22)
    zeros, index = torch.zeros(22, dtype=torch.float64), torch.arange(22)
    clip = {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0.0}
    for objective in (Reinforce(**SHARED | {"aggregation": "constant"}),
                      PPOClip(**clip | SHARED | {"aggregation": "constant"})):
        _, slope, _ = objective.bind(rows, 0.5, 22, 2)(zeros, zeros, index)
        torch.testing.assert_close(slope, torch.full((22,), -0.5 / (2 * 40), dtype=torch.float64))


@pytest.mark.parametrize("objective", [Reinforce, AsymRE, CISPO])
@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_the_gradient_is_autograds_in_float64(objective, aggregation):
    numbers = {AsymRE: {"delta": -0.1}, CISPO: {"clip_low": 0.3, "clip_high": 0.3}}.get(objective, {})
    generator = torch.Generator().manual_seed(0)
    rows = estimated_of([(START, (1,) * 30), (START, (1,) * 20)], torch.randn(50, generator=generator).tolist())
    token_loss = objective(**numbers, entropy_coef=0.1, aggregation=aggregation).bind(rows, 0.7, 50, 2)
    logprob = torch.randn(50, generator=generator, dtype=torch.float64).requires_grad_()
    entropy = torch.rand(50, generator=generator, dtype=torch.float64).requires_grad_()
    loss, d_logprob, d_entropy = token_loss(logprob, entropy, torch.arange(50))
    by_logprob, by_entropy = torch.autograd.grad(loss, (logprob, entropy))
    torch.testing.assert_close(d_logprob.detach(), by_logprob, rtol=0, atol=1e-14)
    torch.testing.assert_close(d_entropy, by_entropy, rtol=0, atol=1e-14)


def test_impossible_numbers_are_refused_by_their_key():
    with pytest.raises(ValueError, match=r"objective.delta is 0.1; expected <= 0"):
        AsymRE(delta=0.1, **SHARED)
    with pytest.raises(ValueError, match=r"objective.clip_low is 1.1"):
        CISPO(clip_low=1.1, clip_high=1.0, **SHARED)
    with pytest.raises(ValueError, match=r"objective.clip_high is 0"):
        CISPO(clip_low=0.2, clip_high=0, **SHARED)
    with pytest.raises(ValueError, match=r"'mean'; expected one of: token_mean, sequence_mean, constant"):
        check_aggregation("mean")
