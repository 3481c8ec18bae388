"""What must hold of every objective, whatever the rows: order, scale, far-off ratios, one token alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
import yaml
from hypothesis import given, settings

from rrl.build import make
from rrl.types import Estimated, Start
from tests.unit.learner.tabular import estimated_of, problem

CONF = Path(__file__).parents[3] / "conf" / "objective"
OBJECTIVES = sorted(path.stem for path in CONF.glob("*.yaml"))
SHIFTED = {"asymre"}  # whose baseline lies off zero by an amount of its own
AGGREGATIONS = ("token_mean", "sequence_mean", "constant")

every = pytest.mark.parametrize("name", OBJECTIVES)
number = st.floats(-3.0, 3.0, width=32)
token = st.tuples(number, st.floats(-9.0, 0.0, width=32), st.floats(-9.0, 0.0, width=32))  # advantage, old, new
rows_of_tokens = st.lists(st.lists(token, min_size=1, max_size=4), min_size=1, max_size=5)
Rows = list[list[tuple[float, float, float]]]


def objective_of(name: str, **changed: Any) -> Any:
    return make(yaml.safe_load((CONF / f"{name}.yaml").read_text()) | changed, "objective")


def estimated(rows: Rows) -> Estimated:
    """Rows of (advantage, old, new) tokens, each from a start of its own."""
    starts = [(Start(problem=problem(f"p{i}", max_response=4)), (1,) * len(row)) for i, row in enumerate(rows)]
    found = estimated_of(starts, [a for row in rows for a, _, _ in row])
    old = torch.tensor([o for row in rows for _, o, _ in row], dtype=torch.float32)
    return replace(found, scored=replace(found.scored, rollouts=replace(found.rollouts, behavior_logprob=old)))


def loss_of(objective: Any, rows: Rows, scale: float = 1.0) -> tuple[float, list[list[float]]]:
    """(loss, slope by log-prob of every token, a list a row)."""
    found = estimated(rows)
    found = replace(found, advantage=scale * found.advantage)
    new = torch.tensor([n for row in rows for _, _, n in row], dtype=torch.float64)
    bound = objective.bind(found, 1.0, len(new), len(rows))
    loss, slope, _ = bound(new, torch.ones_like(new), torch.arange(len(new)))
    assert bool(loss.isfinite()) and bool(slope.isfinite().all())
    return float(loss), [x.tolist() for x in slope.split([len(row) for row in rows])]


@every
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@settings(max_examples=8, deadline=None)
@given(data=st.data(), rows=rows_of_tokens)
def test_the_order_of_rows_does_not_matter(name: str, aggregation: str, data: Any, rows: Rows) -> None:
    objective, order = objective_of(name, aggregation=aggregation), data.draw(st.permutations(range(len(rows))))
    loss, slopes = loss_of(objective, rows)
    shuffled, their_slopes = loss_of(objective, [rows[i] for i in order])
    assert shuffled == pytest.approx(loss, rel=1e-9, abs=1e-9)
    for i, found in zip(order, their_slopes, strict=True):
        assert found == pytest.approx(slopes[i], rel=1e-9, abs=1e-12)


@every
@settings(max_examples=12, deadline=None)
@given(rows=rows_of_tokens, scale=st.sampled_from([0.25, 2.0, 64.0]))
def test_loss_and_slopes_grow_with_the_advantages(name: str, rows: Rows, scale: float) -> None:
    if name in SHIFTED:
        return
    objective = objective_of(name)
    (loss, slopes), (larger, their_slopes) = loss_of(objective, rows), loss_of(objective, rows, scale)
    assert larger == pytest.approx(scale * loss, rel=1e-5, abs=1e-6)
    for one, other in zip(slopes, their_slopes, strict=True):
        assert other == pytest.approx([scale * x for x in one], rel=1e-5, abs=1e-6)


@every
@settings(max_examples=12, deadline=None)
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=5), new=st.floats(-9.0, 0.0))
def test_rows_of_no_advantage_teach_nothing(name: str, lengths: list[int], new: float) -> None:
    _, slopes = loss_of(objective_of(name), [[(0.0, -1.0, new)] * n for n in lengths])
    assert not any(x for row in slopes for x in row)


@every
@settings(max_examples=20, deadline=None)
@given(advantage=number, gap=st.floats(-80.0, 80.0, width=32))
def test_one_token_far_off_policy_is_finite(name: str, advantage: float, gap: float) -> None:
    low, high = (-abs(gap), 0.0) if gap < 0 else (0.0, -abs(gap))
    _, slopes = loss_of(objective_of(name), [[(advantage, high, low)]])  # new - old = gap; e^80 is finite in float64
    assert len(slopes[0]) == 1
