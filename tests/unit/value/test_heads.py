"""Lambdas of their own, members and their spread, by hand."""

import math

import pytest
import torch

from rrl.types import Start
from rrl.value.heads import Estimation, Heads, estimate
from tests.unit.learner.tabular import SoloRanks, problem, scored_of

NUMBERS = {
    "gamma": 1.0, "lam_actor": 1.0, "lam_critic": 1.0, "lam_alpha": 0.0, "bootstrap_truncated": True,
    "normalise": "none", "micro_batch_rows": 0,
}
BARE = Start(problem=problem())


class Told:
    """A trunk whose hidden state is the logit of ``values`` at an action's place in its row."""

    width = 1

    def __init__(self, values):
        self.values = values

    def hidden(self, sequences):
        places = torch.cat([torch.arange(n) for n in sequences.lengths.tolist()])
        return torch.logit(torch.tensor(self.values, dtype=torch.float64))[places][:, None]


class Plain:
    """Both heads read the hidden number itself."""

    def __call__(self, hidden):
        return hidden

    def value(self, logits):
        return torch.sigmoid(logits[:, 0])

    def success(self, logits):
        return torch.sigmoid(logits[:, 0]), torch.zeros(len(logits))


def estimated(values, rows, scores, **changed):
    return estimate(Told(values), Plain(), scored_of(rows, scores), Estimation(**NUMBERS | changed), SoloRanks())


def test_advantage_and_target_have_lambdas_of_their_own():
    # V = .5, .25, .75, return 1 on the last: deltas -.25, .5, .25.
    of = estimated([0.5, 0.25, 0.75], [(BARE, (1, 2, 3))], [1.0], lam_actor=0.5)
    # -.25 + .5 (.5 + .5 * .25); .5 + .125; .25
    assert of.advantage.tolist() == pytest.approx([0.0625, 0.625, 0.25])
    assert of.target_return.tolist() == pytest.approx([1.0, 1.0, 1.0])
    # The other way round: A = 1 - V, target = V + the lambda .5 sum.
    of = estimated([0.5, 0.25, 0.75], [(BARE, (1, 2, 3))], [1.0], lam_critic=0.5)
    assert of.advantage.tolist() == pytest.approx([0.5, 0.75, 0.25])
    assert of.target_return.tolist() == pytest.approx([0.5625, 0.875, 1.0])


def test_a_long_row_has_a_longer_lambda():
    # alpha .5: rows of 1, 2, 4, 8 tokens have 1 - 1 / (.5 l) = -1, 0, .5, .75; the floor is .25.
    how = Estimation(**NUMBERS | {"lam_actor": 0.25, "lam_alpha": 0.5})
    assert how.actor_lambda(torch.tensor([1, 2, 4, 8])).tolist() == [0.25, 0.25, 0.5, 0.75]
    vapo = Estimation(**NUMBERS | {"lam_actor": 0.0, "lam_alpha": 0.05})
    assert vapo.actor_lambda(torch.tensor([10, 100, 400])).tolist() == pytest.approx([0.0, 0.8, 0.95])
    assert Estimation(**NUMBERS).actor_lambda(torch.tensor([1, 8])) == 1.0


def test_length_adaptive_advantages_by_hand_and_the_targets_stay_monte_carlo():
    values, scores = [0.5, 0.25, 0.75, 0.5], [1.0, 0.0]
    of = estimated(values, [(BARE, (1, 2, 3, 4)), (BARE, (1, 2))], scores, lam_actor=0.0, lam_alpha=0.5)
    # Row of 4, lambda .5: deltas -.25, .5, -.25, .5; from behind .5, 0, .5, 0. Row of 2, lambda 0: -.25, -.25.
    assert of.advantage.tolist() == pytest.approx([0.0, 0.5, 0.0, 0.5, -0.25, -0.25])
    assert of.target_return.tolist() == pytest.approx([1.0] * 4 + [0.0] * 2)
    # A target's lambda does not follow: at 0 it is the next state's value.
    of = estimated(values, [(BARE, (1, 2, 3, 4)), (BARE, (1, 2))], scores, lam_actor=0.0, lam_critic=0.0, lam_alpha=0.5)
    assert of.advantage.tolist() == pytest.approx([0.0, 0.5, 0.0, 0.5, -0.25, -0.25])
    assert of.target_return.tolist() == pytest.approx([0.25, 0.75, 0.5, 1.0, 0.25, 0.0])


def test_a_length_adaptive_advantage_depends_on_its_row_alone():
    rows = [(BARE, (1, 2, 3, 4)), (BARE, (1, 2)), (BARE, (3, 2, 1))]
    how = {"lam_actor": 0.1, "lam_alpha": 0.5}
    together = estimated([0.5, 0.25, 0.75, 0.5], rows, [1.0, 0.0, 1.0], **how).advantage
    alone = estimated([0.5, 0.25, 0.75, 0.5], rows[1:2], [0.0], **how).advantage
    assert together[4:6].tolist() == alone.tolist()


@pytest.mark.parametrize(("changed", "said"), [
    ({"lam_alpha": -0.1}, r"value.lam_alpha is -0.1; expected >= 0"),
    ({"lam_alpha": 0.05}, r"value.lam_actor, its floor, is 1"),
    ({"micro_batch_rows": -1}, r"value.micro_batch_rows is -1"),
])  # fmt: skip
def test_impossible_numbers_are_refused_by_their_key(changed, said):
    with pytest.raises(ValueError, match=said):
        Estimation(**NUMBERS | changed)


def test_members_are_read_by_their_mean_and_spread():
    heads = Heads(width=2, score_range=(-1.0, 3.0), like=torch.zeros(0, dtype=torch.float64), members=2)
    log3 = math.log(3.0)  # sigmoid: 3/4
    logits = torch.tensor([[log3, 0.0, -log3, log3], [0.0, log3, 0.0, log3]], dtype=torch.float64)
    # Values: -1 + 4 x mean(3/4, 1/4); success: mean and half the distance of 1/2 and 3/4.
    assert heads.value(logits).tolist() == pytest.approx([1.0, 1.0])
    mean, std = heads.success(logits)
    assert mean.tolist() == pytest.approx([0.625, 0.75]) and std.tolist() == pytest.approx([0.125, 0.0])
    assert heads(torch.ones(3, 2)).tolist() == [[0.0] * 4] * 3  # nothing is ranked before anything is known
