"""gspo, topr, m2po (a row is judged as a whole) and luffy_shape: numbers by hand, gradient against autograd."""

import math

import pytest
import torch

from rrl.objective.gspo import GSPO
from rrl.objective.luffy_shape import LuffyShape
from rrl.objective.m2po import M2PO, trusted
from rrl.objective.topr import TOPR
from rrl.types import Start
from tests.unit.learner.tabular import estimated_of, problem

START = Start(problem=problem(max_response=8))
MEAN = {"entropy_coef": 0.0, "aggregation": "sequence_mean"}


def gspo(**changed):
    return GSPO(**{"clip_low": 0.2, "clip_high": 0.2} | MEAN | changed)


def ratios(objective, ratio_rows, advantages):
    """(loss, d_logprob) of rows whose behaviour log-probs are 0, from ratios and one advantage a row."""
    rows = [(START, (1,) * len(r)) for r in ratio_rows]
    flat = [a for r, a in zip(ratio_rows, advantages, strict=True) for _ in r]
    logprob = torch.tensor([math.log(x) for r in ratio_rows for x in r], dtype=torch.float64)
    token_loss = objective.bind(estimated_of(rows, flat), 1.0, len(flat), len(rows))
    loss, slope, _ = token_loss(logprob, torch.zeros_like(logprob), torch.arange(len(flat)))
    return loss.item(), slope.tolist()


def test_gspos_ratio_is_the_rows_geometric_mean_and_every_token_feels_it():
    # s = sqrt(4 * .25) = 1: neither token is clipped, though both ratios are far outside; d = -s A / T.
    assert ratios(gspo(), [(4.0, 0.25)], [1.0]) == (pytest.approx(-1.0), pytest.approx([-0.5, -0.5]))
    # s = sqrt(2 * 8) = 4 > 1.2, A > 0: the whole row stops; the other, s = 1.1, does not.
    loss, slope = ratios(gspo(), [(2.0, 8.0), (1.1,)], [1.0, 1.0])
    assert loss == pytest.approx(-(1.2 + 1.1) / 2)
    assert slope == pytest.approx([0.0, 0.0, -1.1 / 2])
    # A < 0 and s = 4: pushed down by s A / T.
    assert ratios(gspo(), [(2.0, 8.0)], [-1.0])[1] == pytest.approx([2.0, 2.0])


def test_topr_lets_good_rows_count_fully_and_bad_ones_by_their_ratio_up_to_one():
    objective = TOPR(negative_max=1.0, **MEAN | {"aggregation": "token_mean"})
    assert ratios(objective, [(0.1, 0.1)], [1.0])[1] == pytest.approx([-0.5, -0.5])
    assert ratios(objective, [(0.5, 0.5)], [-1.0])[1] == pytest.approx([0.125, 0.125])  # s = .25, over 2 tokens
    assert ratios(objective, [(3.0, 3.0)], [-1.0])[1] == pytest.approx([0.5, 0.5])      # s = 9, clipped to 1
    assert ratios(objective, [(0.5, 0.5)], [-1.0])[0] == pytest.approx(0.25 * math.log(0.5))


def test_topr_survives_a_ratio_that_overflows():
    rows = estimated_of([(START, (1,) * 8)], [-1.0] * 8)
    objective = TOPR(negative_max=1.0, **MEAN)
    _, slope, _ = objective.bind(rows, 1.0, 8, 1)(torch.full((8,), 300.0), torch.zeros(8), torch.arange(8))
    assert slope.tolist() == [0.125] * 8


def test_m2po_drops_the_largest_log_ratios_until_the_rest_is_within_tau():
    square = torch.tensor([0.0, 0.09, 0.01, 0.5])
    row, lengths = torch.tensor([0, 0, 0, 1]), torch.tensor([3, 1])
    assert trusted(square, row, lengths, 0.04).tolist() == [True, True, True, False]   # means 0, .005, .0333; .5
    assert trusted(square, row, lengths, 0.03).tolist() == [True, False, True, False]
    shuffled = torch.tensor([3, 1, 0, 2])
    kept = trusted(square[shuffled], torch.tensor([1, 0, 0, 0]), lengths, 0.03)
    assert kept.tolist() == [False, False, True, True]


def test_m2po_pushes_kept_tokens_by_their_ratio_and_dropped_ones_not_at_all():
    objective = M2PO(tau=0.04, **MEAN | {"aggregation": "token_mean"})
    loss, slope = ratios(objective, [(1.1, math.e)], [2.0])  # (log r)^2: .009, 1
    assert loss == pytest.approx(-1.1)
    assert slope == pytest.approx([-1.1, 0.0])


def test_m2po_drops_an_overflowed_ratio_and_keeps_nan_in_sight():
    token_loss = M2PO(tau=0.04, **MEAN).bind(estimated_of([(START, (1, 2))], [1.0, 1.0]), 1.0, 2, 1)
    loss, slope, _ = token_loss(torch.tensor([0.0, 500.0]), torch.zeros(2), torch.arange(2))
    assert loss.item() == pytest.approx(-0.5) and slope.tolist() == [-0.5, 0.0]
    assert token_loss(torch.tensor([0.0, math.nan]), torch.zeros(2), torch.arange(2))[0].isnan()


def test_luffys_shape_saturates_and_its_slope_is_a_quarter_at_gamma():
    objective = LuffyShape(gamma=0.1, **MEAN)
    assert ratios(objective, [(0.1,)], [1.0]) == (pytest.approx(-0.5), pytest.approx([-0.25]))
    assert ratios(objective, [(0.9,)], [2.0]) == (pytest.approx(-1.8), pytest.approx([-2 * 0.9 * 0.1]))


OBJECTIVES = {
    "gspo": lambda **k: GSPO(clip_low=0.1, clip_high=0.1, **k),
    "topr": lambda **k: TOPR(negative_max=1.0, **k),
    "m2po": lambda **k: M2PO(tau=0.3, **k),
    "luffy_shape": lambda **k: LuffyShape(gamma=0.1, **k),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_the_gradient_is_autograds_in_float64(name, aggregation):
    generator = torch.Generator().manual_seed(0)
    rows = [(START, (1,) * n) for n in (8, 1, 5, 8, 7, 3)]
    estimated = estimated_of(rows, torch.randn(32, generator=generator).tolist())  # differs inside a row: a critic's
    token_loss = OBJECTIVES[name](entropy_coef=0.1, aggregation=aggregation).bind(estimated, 0.7, 32, 6)
    logprob = torch.randn(32, generator=generator, dtype=torch.float64).mul(0.5).requires_grad_()
    entropy = torch.rand(32, generator=generator, dtype=torch.float64).requires_grad_()
    loss, d_logprob, d_entropy = token_loss(logprob, entropy, torch.arange(32))
    by_logprob, by_entropy = torch.autograd.grad(loss, (logprob, entropy))
    assert bool(by_logprob.any())
    torch.testing.assert_close(d_logprob.detach(), by_logprob, rtol=0, atol=1e-14)
    torch.testing.assert_close(d_entropy, by_entropy, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_whole_rows_in_any_order_add_up_to_the_whole(name):
    estimated = estimated_of([(START, (1,) * 3), (START, (1,)), (START, (1,) * 2)], [1.0, -2.0, 0.5, 1.0, -1.0, -1.0])
    token_loss = OBJECTIVES[name](**MEAN).bind(estimated, 1.0, 6, 3)
    logprob = torch.tensor([0.1, -0.3, 0.9, 0.2, -0.6, 0.05], dtype=torch.float64)
    whole, slope, _ = token_loss(logprob, torch.zeros(6), torch.arange(6))
    chunks = [torch.tensor([5, 4, 3]), torch.tensor([2, 0, 1])]
    pieces = [token_loss(logprob[i], torch.zeros(3), i) for i in chunks]
    torch.testing.assert_close(pieces[0][0] + pieces[1][0], whole)
    torch.testing.assert_close(torch.cat([p[1] for p in pieces]), slope[torch.cat(chunks)])


@pytest.mark.parametrize("name", ["gspo", "topr", "m2po"])
def test_a_part_of_a_row_is_refused(name):
    objective = OBJECTIVES[name](**MEAN)
    assert objective.whole_rows
    token_loss = objective.bind(estimated_of([(START, (1,) * 3)], [1.0] * 3), 1.0, 3, 1)
    with pytest.raises(ValueError, match=f"objective {name} was given 2 of the 3 tokens of row 0"):
        token_loss(torch.zeros(2), torch.zeros(2), torch.arange(2))


def test_impossible_numbers_are_refused_by_their_key():
    for key, make in (
        ("clip_low is 1.0", lambda: gspo(clip_low=1.0)), ("clip_high is 0", lambda: gspo(clip_high=0)),
        ("negative_max is 0", lambda: TOPR(negative_max=0, **MEAN)), ("tau is 0", lambda: M2PO(tau=0, **MEAN)),
        ("gamma is 0", lambda: LuffyShape(gamma=0, **MEAN)),
    ):
        with pytest.raises(ValueError, match=f"objective.{key}"):
            make()
