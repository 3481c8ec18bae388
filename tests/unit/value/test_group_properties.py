"""What must hold of every group baseline, whatever the rows: order, shifts, scales, tiny groups."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl.types import Start
from rrl.value.batch_whiten import BatchWhiten
from rrl.value.group_mean import GroupMean
from rrl.value.group_norm import GroupNorm
from rrl.value.leave_one_out import LeaveOneOut
from tests.unit.learner.tabular import SoloRanks, problem, scored_of

COUNTS = {"kappa": 2.0, "decay": 0.95}
EPS = 1e-4
STARTS = [
    Start(problem=problem("a")), Start(problem=problem("a"), prefix=(1,)), Start(problem=problem("a"), prefix=(2,)),
    Start(problem=problem("b")),
]
MAKE = {
    "group_mean": lambda: GroupMean(ranks=SoloRanks(), **COUNTS),
    "leave_one_out": lambda: LeaveOneOut(ranks=SoloRanks(), **COUNTS),
    "group_norm": lambda: GroupNorm(ranks=SoloRanks(), eps=EPS, **COUNTS),
    "batch_whiten": lambda: BatchWhiten(ranks=SoloRanks(), **COUNTS),
}
every = pytest.mark.parametrize("name", MAKE)
grouped = pytest.mark.parametrize("name", ["group_mean", "leave_one_out", "group_norm"])

# Quarters, so that sums and shifts are exact in float32.
quarter = st.integers(-8, 8).map(lambda k: k / 4)
row = st.tuples(st.integers(0, len(STARTS) - 1), st.lists(quarter, min_size=1, max_size=4))
rows = st.lists(row, min_size=1, max_size=12)


def scored(rows):
    """Rows of (start, reward of each token)."""
    found = scored_of([(STARTS[s], (1,) * len(r)) for s, r in rows], [0.0] * len(rows))
    found.reward[:] = torch.tensor([x for _, r in rows for x in r])
    return found


def advantages(name, rows):
    """Of each row, a list."""
    estimated = MAKE[name]().estimate(scored(rows))
    assert bool(estimated.advantage.isfinite().all() and estimated.value.isfinite().all())
    return [x.tolist() for x in estimated.advantage.split([len(r) for _, r in rows])]


def close(one, other, abs_=1e-5, rel=1e-5):
    assert [len(x) for x in one] == [len(x) for x in other]
    assert [x for of in one for x in of] == pytest.approx([x for of in other for x in of], abs=abs_, rel=rel)


@every
@settings(max_examples=30)
@given(data=st.data(), rows=rows)
def test_the_order_of_rows_does_not_matter(name, data, rows):
    order = data.draw(st.permutations(range(len(rows))))
    whole = advantages(name, rows)
    close(advantages(name, [rows[i] for i in order]), [whole[i] for i in order])


@every
@settings(max_examples=30)
@given(rows=rows, shift=st.integers(-20, 20).map(lambda k: k / 4))
def test_a_bonus_that_every_row_gets_at_its_end_changes_nothing(name, rows, shift):
    shifted = [(s, [*r[:-1], r[-1] + shift]) for s, r in rows]
    # Whitened and normalised ones divide by a spread of the same numbers, rounded elsewhere.
    close(advantages(name, shifted), advantages(name, rows), abs_=1e-4, rel=1e-4)


@grouped
@settings(max_examples=30)
@given(rows=rows, shifts=st.lists(quarter, min_size=len(STARTS), max_size=len(STARTS)))
def test_each_group_may_get_a_bonus_of_its_own(name, rows, shifts):
    shifted = [(s, [*r[:-1], r[-1] + shifts[s]]) for s, r in rows]
    close(advantages(name, shifted), advantages(name, rows), abs_=1e-4, rel=1e-4)


@settings(max_examples=30)
@given(rows=rows, scale=st.sampled_from([0.5, 2.0, 64.0]))
def test_group_norm_forgets_the_scale_of_rewards_up_to_its_eps(rows, scale):
    scaled = [(s, [x * scale for x in r]) for s, r in rows]
    found, whole = advantages("group_norm", scaled), advantages("group_norm", rows)
    for (s, _), one, other in zip(rows, found, whole, strict=True):
        returns = [sum(r) for start, r in rows if start == s]
        if min(returns) == max(returns):
            assert one == other == [0.0] * len(one)
            continue
        mean = sum(returns) / len(returns)
        std = math.sqrt(sum((x - mean) ** 2 for x in returns) / (len(returns) - 1))
        # (std + eps) / (std + eps / scale) of each other, exactly.
        assert one == pytest.approx([x * (std + EPS) / (std + EPS / scale) for x in other], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["group_mean", "leave_one_out"])
@settings(max_examples=30)
@given(rows=rows, scale=st.sampled_from([0.5, 2.0, -4.0]))
def test_undivided_advantages_grow_with_the_rewards(name, rows, scale):
    scaled = [(s, [x * scale for x in r]) for s, r in rows]
    close(advantages(name, scaled), [[scale * x for x in of] for of in advantages(name, rows)])


@grouped
@settings(max_examples=30)
@given(rows=rows)
def test_first_advantages_of_a_group_sum_to_zero_and_other_groups_do_not_matter(name, rows):
    found = advantages(name, rows)
    for s in {s for s, _ in rows}:
        mine = [i for i, (start, _) in enumerate(rows) if start == s]
        assert sum(found[i][0] for i in mine) == pytest.approx(0.0, abs=1e-4)
        close(advantages(name, [rows[i] for i in mine]), [found[i] for i in mine])


@every
@settings(max_examples=30)
@given(rows=rows, reward=quarter)
def test_equal_returns_teach_nothing_and_one_row_is_finite(name, rows, reward):
    equal = [(s, [0.0] * (len(r) - 1) + [reward]) for s, r in rows]
    assert all(x == 0.0 for of in advantages(name, equal) for x in of)
    (alone,) = advantages(name, rows[:1])
    if name != "batch_whiten":  # which whitens the tokens of one row among themselves
        assert alone[0] == 0.0


@settings(max_examples=30)
@given(rows=rows, scale=st.sampled_from([0.5, 2.0, 64.0]))
def test_whitening_forgets_the_scale_of_rewards(rows, scale):
    scaled = [(s, [x * scale for x in r]) for s, r in rows]
    found, whole = advantages("batch_whiten", scaled), advantages("batch_whiten", rows)
    assert all(abs(x) < 100.0 for of in found + whole for x in of)
    close(found, whole, abs_=1e-3, rel=1e-3)
