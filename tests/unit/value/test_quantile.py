"""Quantiles of the return: the loss by hand, and what it finds."""

import math

import pytest
import torch

from rrl.types import Start
from rrl.value.losses import Labels
from rrl.value.quantile import Quantile, QuantileHeads, quantile_losses
from tests.unit.learner.tabular import SoloRanks, TabularPolicy, estimated_of, problem, progress
from tests.unit.value.test_critic import ESTIMATION, FITTING, WideTask

BARE = Start(problem=problem())


def heads_of(num=2, optimism=0.5, score_range=(0.0, 1.0)):
    like = torch.zeros(0, dtype=torch.float64)
    return QuantileHeads(width=1, score_range=score_range, like=like, num=num, optimism=optimism)


def loss(quantiles, target, *, huber=0.0, success_coef=0.0, score_range=(0.0, 1.0)):
    heads = heads_of(len(quantiles), score_range=score_range)
    logits = torch.cat([torch.logit(torch.tensor(quantiles, dtype=torch.float64)), torch.zeros(1)])[None]
    one = lambda x: torch.tensor([x], dtype=torch.float64)  # noqa: E731
    labels = Labels(target_return=one(target), solved=one(1.0), old_value=one(0.0), row=torch.tensor([0]), step=0)
    return quantile_losses(heads, logits, labels, huber=huber, success_coef=success_coef).item()


def test_the_quantile_loss_by_hand():
    # Levels 1/4, 3/4 at .2, .6. A return of 1 lies above both: (1/4 x .8 + 3/4 x .4) / 2.
    assert loss([0.2, 0.6], 1.0) == pytest.approx(0.25)
    # A return of .4: above .2 by .2 at weight 1/4, below .6 by .2 at weight 1 - 3/4.
    assert loss([0.2, 0.6], 0.4) == pytest.approx(0.05)
    # On a score range -1..3 a return of .6 is .4 of the range.
    assert loss([0.2, 0.6], 0.6, score_range=(-1.0, 3.0)) == pytest.approx(0.05)
    # Huber, k = .5: .8 is beyond (.8 - .25), .4 within (.16 / 1).
    assert loss([0.2, 0.6], 1.0, huber=0.5) == pytest.approx((0.25 * 0.55 + 0.75 * 0.16) / 2)
    assert loss([0.2, 0.6], 1.0, success_coef=2.0) == pytest.approx(0.25 + 2 * math.log(2.0))


def test_the_heads_say_mean_and_how_far_the_optimistic_quantile_is_above_it():
    heads = heads_of(num=4, optimism=0.8, score_range=(-1.0, 3.0))
    # Crossed on purpose: read in order they are .1, .2, .3, .8; level .8 is in the last quarter.
    logits = torch.tensor([[*torch.logit(torch.tensor([0.3, 0.1, 0.8, 0.2])).tolist(), math.log(3.0)]])
    assert heads.value(logits).item() == pytest.approx(-1 + 4 * 0.35, abs=1e-6)
    mean, above = heads.success(logits)
    assert (mean.item(), above.item()) == pytest.approx((0.75, 0.45), abs=1e-6)
    # At the middle level of a distribution that leans up the median is below the mean: no optimism, 0.
    assert heads_of(num=4, optimism=0.5).success(logits)[1].item() == 0.0


def quantile(**changed):
    numbers = {"num_quantiles": 8, "huber": 0.0, "optimism": 0.9} | ESTIMATION | FITTING | changed
    for name in ("lam_critic", "loss", "value_clip"):
        numbers.pop(name)
    return Quantile(
        policy=TabularPolicy(), task=WideTask(), ranks=SoloRanks(), seed=0, init="scratch", num_layers=1, **numbers
    )


def test_fitting_finds_the_quantiles_and_a_rare_success_stands_out_in_the_upper_one():
    # Returns -1 (12 of 16), 1 (3 of 16) and 3 (1 of 16): of 8 quantiles 6 are at -1 and one at 1; the last,
    # at level 15/16, stands where 3 begins.
    returns = [-1.0] * 12 + [1.0] * 3 + [3.0]
    estimated = estimated_of([(BARE, (1,))] * 16, None, scores=[0.0] * 15 + [1.0], target=returns)
    value = quantile(lr=0.05, minibatches=1)
    for _ in range(250):
        value.fit(estimated, progress())
    heads, trunk = value._fitted._heads, value._fitted._trunk
    shares = heads.shares(heads(trunk.start_hidden([BARE]))).detach().sort().values[0]
    assert shares[:6].tolist() == pytest.approx([0.0] * 6, abs=0.06)
    assert shares[6].item() == pytest.approx(0.5, abs=0.06)
    assert 0.5 <= shares[7].item() <= 1.0
    solved, above = value.success([BARE])
    assert solved[0] == pytest.approx(1 / 16, abs=0.03)
    assert above[0] == pytest.approx(float(shares[7] - shares.mean()), abs=1e-6) and above[0] > 0.3


def test_an_untrained_one_says_the_middle_without_optimism():
    value = quantile()
    estimated = value.estimate(estimated_of([(BARE, (1, 2))], None, scores=[1.0]).scored)
    assert estimated.value.tolist() == [1.0, 1.0] and estimated.advantage.tolist() == [0.0, 0.0]
    assert [x.tolist() for x in value.success([BARE])] == [[0.5], [0.0]]


@pytest.mark.parametrize(
    ("key", "number"), [("num_quantiles", 1), ("huber", -0.1), ("optimism", 1.0), ("success_coef", -1.0)]
)
def test_impossible_numbers_are_refused_by_their_key(key, number):
    with pytest.raises(ValueError, match=f"value.{key} is {number}"):
        quantile(**{key: number})
