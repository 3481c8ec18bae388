"""Members, the rows that each learns from, and their spread."""

import math

import numpy as np
import pytest
import torch

from rrl import rng
from rrl.types import Start
from rrl.value.ensemble import Ensemble, JoinedHeads, Several, bootstrapped, member_seed
from rrl.value.heads import Heads
from rrl.value.losses import BoundedLoss, Labels
from tests.unit.learner.tabular import (
    SoloRanks,
    TabularPolicy,
    TabularTrunk,
    ThreadRanks,
    estimated_of,
    problem,
    progress,
    random_estimated,
    scored_of,
)
from tests.unit.value.test_critic import ESTIMATION, FITTING, Task

BARE = Start(problem=problem())
PREFIXED = Start(problem=problem(), prefix=(1, 2))


def ensemble(ranks=None, **changed):
    numbers = {"members": 3, "trunks": "shared", "row_prob": 0.5} | ESTIMATION | FITTING | changed
    numbers.pop("value_clip")
    return Ensemble(
        policy=TabularPolicy(), task=Task(), ranks=ranks or SoloRanks(), seed=0, init="scratch", num_layers=1, **numbers
    )


def test_a_member_pays_for_its_own_rows_only():
    # Three members at logit 0 lose log 2 on a row, each whenever it is drawn; two heads: value and success.
    heads = Heads(width=1, score_range=(0.0, 1.0), like=torch.zeros(0), members=3)
    how = BoundedLoss(loss="bce", success_coef=1.0, value_clip=0.0)
    rows = torch.tensor([0, 0, 1, 2, 3, 4])
    half = torch.full((6,), 0.5)
    labels = Labels(target_return=half, solved=half, old_value=half, row=rows, step=7)
    found = bootstrapped(heads, how, members=3, row_prob=0.4, seed=5)(torch.zeros(6, 6), labels)
    drawn = sum((rng.uniforms(5, "value.row", 7, rows.numpy(), k) < 0.4).astype(float) for k in range(3))
    assert found.tolist() == pytest.approx((2 * math.log(2.0) * drawn / (0.4 * 3)).tolist(), rel=1e-6)
    assert len(set(drawn.tolist())) > 1 and found[0] == found[1]
    all_rows = bootstrapped(heads, how, members=3, row_prob=1.0, seed=5)(torch.zeros(6, 6), labels)
    assert all_rows.tolist() == pytest.approx([2 * math.log(2.0)] * 6)


def test_a_member_gets_the_share_of_rows_that_was_asked_for():
    rows = np.arange(4000)
    shares = [(rng.uniforms(0, "value.row", 3, rows, k) < 0.25).mean() for k in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=0.03)  # 4 standard deviations


def test_joined_heads_read_their_own_part():
    heads = [Heads(width=w, score_range=(0.0, 2.0), like=torch.zeros(0), members=1) for w in (1, 2)]
    for head, weight in zip(heads, (1.0, 10.0), strict=True):
        torch.nn.init.constant_(head.linear.weight, weight)
    joined = JoinedHeads(heads)
    logits = joined(torch.tensor([[0.5, 0.1, 0.2]]))
    assert logits.tolist() == [pytest.approx([0.5, 0.5, 3.0, 3.0])]
    low, high = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(-3.0))
    assert joined.value(logits).item() == pytest.approx(low + high)
    mean, std = joined.success(logits)
    assert (mean.item(), std.item()) == pytest.approx(((low + high) / 2, (high - low) / 2))


def test_several_trunks_stand_side_by_side_and_are_saved_by_number():
    trunks = [TabularTrunk(seed=s) for s in (1, 2)]
    several = Several(trunks)
    starts = [BARE, PREFIXED]
    assert torch.equal(several.start_hidden(starts), torch.cat([t.start_hidden(starts) for t in trunks], 1))
    assert several.width == 8
    assert all(p is t.table for p, t in zip(several.parameters(), trunks, strict=True))


@pytest.mark.parametrize("trunks", ["shared", "own"])
def test_the_spread_is_nothing_at_first_and_then_wider_where_less_was_seen(trunks):
    value = ensemble(trunks=trunks, members=4)
    assert [x.tolist() for x in value.success([BARE, PREFIXED])] == [[0.5, 0.5], [0.0, 0.0]]
    other = Start(problem=problem(prompt=(3,)))
    for step in range(60):
        # The bare start is seen ten times a step, five of them solved; the other one once in four steps, half solved.
        rows, scores = [(BARE, (1,))] * 10, [1.0, 0.0] * 5
        if step % 4 == 0:
            rows, scores = [*rows, (other, (1,))], [*scores, float(step % 8 == 0)]
        value.fit(estimated_of(rows, None, scores=scores, target=scores), progress(step=step))
    mean, std = value.success([BARE, other])
    assert mean[0] == pytest.approx(0.5, abs=0.15)
    assert std[1] > std[0] > 0.0


def test_trunks_of_their_own_begin_apart_and_share_nothing():
    assert len({member_seed(0, k) for k in range(4)} | {member_seed(1, 0)}) == 5
    shared, own = (len(ensemble(trunks=t).state_dict()["parameters"]) for t in ("shared", "own"))
    assert (shared, own) == (1 + 2, 3 * (1 + 2))


def test_two_ranks_fit_as_one_whichever_rows_they_hold():
    rows = random_estimated(7, seed=4)
    solo = ensemble()
    metrics = solo.fit(rows, progress())

    def rank(index):
        def work(ranks):
            value = ensemble(ranks)
            return value.fit(rows.rows(index), progress()), value.success([BARE, PREFIXED])

        return work

    for got, told in ThreadRanks.together([rank(torch.arange(0, 2)), rank(torch.arange(2, 7))]):
        assert got == pytest.approx(metrics, rel=1e-9)
        np.testing.assert_allclose(told, solo.success([BARE, PREFIXED]), rtol=0, atol=1e-12)


def test_micro_batches_draw_the_same_rows():
    whole, pieces = ensemble(), ensemble(micro_batch_rows=2)
    estimated = random_estimated(9, seed=4)
    assert whole.fit(estimated, progress()) == pytest.approx(pieces.fit(estimated, progress()), rel=1e-6)


def test_advantages_are_over_the_mean():
    value = ensemble()
    for step in range(5):
        value.fit(random_estimated(8, seed=step), progress(step=step))
    scored = scored_of([(BARE, (1, 2)), (PREFIXED, (3,))], [1.0, 0.0])
    estimated = value.estimate(scored)
    torch.testing.assert_close(estimated.advantage, torch.tensor([1.0, 1.0, 0.0]) - estimated.value)
    assert estimated.success[[0, 2]].tolist() == pytest.approx(value.success([BARE, PREFIXED])[0].tolist())


@pytest.mark.parametrize(("key", "number"), [("members", 1), ("row_prob", 0.0), ("row_prob", 1.5), ("lr", -1.0)])
def test_impossible_numbers_are_refused_by_their_key(key, number):
    with pytest.raises(ValueError, match=f"value.{key} is {number}"):
        ensemble(**{key: number})
