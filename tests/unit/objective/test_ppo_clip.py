"""The clipped surrogate: numbers by hand, gradient against autograd."""

import math

import pytest
import torch

from rrl.objective.ppo_clip import PPOClip
from rrl.types import Start
from tests.unit.learner.tabular import estimated_of, problem

START = Start(problem=problem(max_response=40))
DEFAULT = {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 0.0, "entropy_coef": 0.0, "aggregation": "token_mean"}


def one_token(ratio, advantage, **changed):
    """(loss, d_logprob) of one token whose behaviour log-prob is 0."""
    estimated = estimated_of([(START, (1,))], [advantage])
    token_loss = PPOClip(**DEFAULT | changed).bind(estimated, 1.0, 1, 1)
    logprob = torch.tensor([math.log(ratio)], dtype=torch.float64)
    loss, d_logprob, _ = token_loss(logprob, torch.zeros_like(logprob), torch.tensor([0]))
    return loss.item(), d_logprob.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),   # on policy: plain policy gradient
        (1.1, 1.0, -1.1, -1.1),   # inside the range
        (1.5, 1.0, -1.2, 0.0),    # good token, already more likely: clipped
        (1.5, -1.0, 1.5, 1.5),    # bad token, more likely: pushed down
        (0.5, -1.0, 0.8, 0.0),    # bad token, already less likely: clipped
        (0.5, 1.0, -0.5, -0.5),   # good token, less likely: pulled up
    ],
)
def test_the_six_cases_of_the_clip(ratio, advantage, loss, slope):
    assert one_token(ratio, advantage) == pytest.approx((loss, slope))


def test_dual_clip_bounds_a_bad_token_whose_ratio_exploded():
    assert one_token(4.0, -1.0) == pytest.approx((4.0, 4.0))
    assert one_token(4.0, -1.0, dual_clip=3.0) == pytest.approx((3.0, 0.0))
    assert one_token(2.0, -1.0, dual_clip=3.0) == pytest.approx((2.0, 2.0))
    assert one_token(4.0, 1.0, dual_clip=3.0) == pytest.approx((-1.2, 0.0))


def test_a_higher_upper_bound_gives_a_rare_token_more_room():
    assert one_token(1.25, 1.0, clip_high=0.28) == pytest.approx((-1.25, -1.25))


def test_an_overflowed_ratio_of_a_good_token_is_clipped_not_nan():
    estimated = estimated_of([(START, (1,))], [1.0])
    token_loss = PPOClip(**DEFAULT).bind(estimated, 1.0, 1, 1)
    loss, slope, _ = token_loss(torch.tensor([200.0]), torch.zeros(1), torch.tensor([0]))
    assert loss.item() == pytest.approx(-1.2)
    assert slope.item() == 0.0


def test_a_step_raises_the_good_token_and_lowers_the_bad_one():
    estimated = estimated_of([(START, (1, 2))], [1.0, -1.0])
    token_loss = PPOClip(**DEFAULT).bind(estimated, 1.0, 2, 1)
    _, slope, _ = token_loss(torch.zeros(2), torch.zeros(2), torch.arange(2))
    assert slope.tolist() == [-0.5, 0.5]  # minimised: log-prob of the first rises


def test_token_mean_weighs_tokens_alike_and_sequence_mean_rows():
    estimated = estimated_of([(START, (1, 2)), (START, (1,) * 20)], [1.0] * 22)
    zeros, index = torch.zeros(22), torch.arange(22)
    _, by_token, _ = PPOClip(**DEFAULT).bind(estimated, 0.5, 22, 2)(zeros, zeros, index)
    torch.testing.assert_close(by_token, torch.full((22,), -0.5 / 22))
    sequence_mean = PPOClip(**DEFAULT | {"aggregation": "sequence_mean"})
    _, by_row, _ = sequence_mean.bind(estimated, 0.5, 22, 2)(zeros, zeros, index)
    torch.testing.assert_close(by_row, torch.tensor([-0.5 / 2 / 2] * 2 + [-0.5 / 2 / 20] * 20))


def test_the_entropy_bonus_pays_for_spread():
    estimated = estimated_of([(START, (1, 2))], [0.0, 0.0])
    token_loss = PPOClip(**DEFAULT | {"entropy_coef": 0.1}).bind(estimated, 1.0, 2, 1)
    loss, _, d_entropy = token_loss(torch.zeros(2), torch.tensor([1.0, 3.0]), torch.arange(2))
    assert loss.item() == pytest.approx(-0.2)
    torch.testing.assert_close(d_entropy, torch.tensor([-0.05, -0.05]))


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean"])
@pytest.mark.parametrize("dual_clip", [0.0, 3.0])
def test_the_gradient_is_autograds_in_float64(dual_clip, aggregation):
    generator = torch.Generator().manual_seed(0)
    estimated = estimated_of([(START, (1,) * 30), (START, (1,) * 20)], torch.randn(50, generator=generator).tolist())
    objective = PPOClip(**DEFAULT | {"dual_clip": dual_clip, "entropy_coef": 0.1, "aggregation": aggregation})
    token_loss = objective.bind(estimated, 0.7, 50, 2)
    logprob = torch.randn(50, generator=generator, dtype=torch.float64).mul(1.5).requires_grad_()
    entropy = torch.rand(50, generator=generator, dtype=torch.float64).requires_grad_()
    loss, d_logprob, d_entropy = token_loss(logprob, entropy, torch.arange(50))
    by_logprob, by_entropy = torch.autograd.grad(loss, (logprob, entropy))
    torch.testing.assert_close(d_logprob.detach(), by_logprob, rtol=0, atol=1e-14)
    torch.testing.assert_close(d_entropy, by_entropy, rtol=0, atol=1e-14)


def test_chunks_in_any_order_add_up_to_the_whole():
    estimated = estimated_of([(START, (1, 2, 3))], [1.0, -2.0, 0.5])
    token_loss = PPOClip(**DEFAULT).bind(estimated, 1.0, 3, 1)
    logprob, entropy = torch.tensor([0.1, -0.3, 0.4]), torch.zeros(3)
    whole, slope, _ = token_loss(logprob, entropy, torch.arange(3))
    pieces = [token_loss(logprob[i], entropy[i], i) for i in (torch.tensor([2]), torch.tensor([0, 1]))]
    torch.testing.assert_close(sum(p[0] for p in pieces), whole)
    torch.testing.assert_close(torch.cat([pieces[1][1], pieces[0][1]]), slope)


@pytest.mark.parametrize(
    ("key", "value"), [("clip_low", 1.0), ("clip_high", 0.0), ("dual_clip", 1.1), ("aggregation", "mean")]
)
def test_a_bound_that_cannot_clip_is_refused_by_its_key(key, value):
    with pytest.raises(Exception, match=key):
        PPOClip(**DEFAULT | {key: value})
