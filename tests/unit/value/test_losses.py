"""How far a bounded value and P(solved) are from what happened, by hand."""

import math

import pytest
import torch

from rrl.value.heads import Heads
from rrl.value.losses import BoundedLoss, Labels, token_losses


def losses(logit, target, *, solved=0.0, old=0.5, score_range=(0.0, 1.0), **changed):
    heads = Heads(width=4, score_range=score_range, like=torch.zeros(0, dtype=torch.float64), members=1)
    target, solved, old = (torch.tensor([x], dtype=torch.float64) for x in (target, solved, old))
    labels = Labels(target_return=target, solved=solved, old_value=old, row=torch.tensor([0]), step=0)
    how = BoundedLoss(**{"loss": "bce", "success_coef": 0.0, "value_clip": 0.0} | changed)
    logits = torch.tensor([[logit, 0.0]], dtype=torch.float64)
    assert torch.equal(token_losses(heads, logits, labels, how=how), how.of(heads)(logits, labels))
    return how.of(heads)(logits, labels).item()


def test_value_losses_by_hand():
    # sigmoid(log 3) = 3/4.
    assert losses(math.log(3.0), 1.0) == pytest.approx(-math.log(0.75))
    assert losses(math.log(3.0), 0.5) == pytest.approx(-0.5 * math.log(0.75) - 0.5 * math.log(0.25))
    assert losses(math.log(3.0), 0.5, loss="mse") == pytest.approx(0.0625)
    # score range -1..3: a target of 1 is one half of the range.
    assert losses(math.log(3.0), 1.0, score_range=(-1.0, 3.0), loss="mse") == pytest.approx(0.0625)
    # success head at 1/2: log 2 whatever happened, on top.
    assert losses(0.0, 0.5, success_coef=2.0, loss="mse") == pytest.approx(2 * math.log(2.0))


def test_a_value_that_ran_ahead_of_the_clip_pays_as_if_it_had_not():
    # p = 3/4 from p_old = 1/2, c = .1: bounded p = .6; the larger error, .4^2, counts.
    assert losses(math.log(3.0), 1.0, loss="mse", value_clip=0.1) == pytest.approx(0.16)
    assert losses(math.log(3.0), 1.0, value_clip=0.1) == pytest.approx(-math.log(0.6), rel=1e-6)
    assert losses(math.log(3.0), 0.0, loss="mse", value_clip=0.1) == pytest.approx(0.5625)


def test_a_target_outside_the_score_range_is_read_as_its_end():
    assert losses(0.0, 7.0) == pytest.approx(math.log(2.0))
    assert losses(math.log(3.0), 7.0) == pytest.approx(-math.log(0.75))


@pytest.mark.parametrize(("key", "value"), [("success_coef", -1.0), ("value_clip", -0.1)])
def test_impossible_numbers_are_refused_by_their_key(key, value):
    with pytest.raises(ValueError, match=f"value.{key} is"):
        BoundedLoss(**{"loss": "bce", "success_coef": 1.0, "value_clip": 0.0} | {key: value})
