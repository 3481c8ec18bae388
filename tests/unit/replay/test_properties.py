"""Laws that hold for every number there could be: rankings, plans, and states that are saved and loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as nps

from rrl import checkpoint
from rrl.build import make
from rrl.records import Attempt, Candidates, Harvest, Progress, Signals
from rrl.types import Start
from tests.unit.replay.builders import CONF, NOTHING, a_problem, a_replay, option, same

# Types are checked by chance inside the strategies too.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")

SELECTIONS = sorted(path.stem for path in (CONF / "selection").glob("*.yaml"))
SCHEDULES = sorted(path.stem for path in (CONF / "schedule").glob("*.yaml"))
FALLING = {"linear_down", "cosine_down"}
RISING = {"linear_up", "cosine_up"}

shares = st.floats(0.0, 1.0)
counts = st.floats(0.0, 1e6)


@st.composite
def candidates(draw: Any) -> Candidates:
    size = draw(st.integers(1, 12))
    real = lambda elements: draw(nps.arrays(np.float64, size, elements=elements))   # noqa: E731
    whole = lambda low, high: draw(nps.arrays(np.int64, size, elements=st.integers(low, high)))   # noqa: E731
    tries = real(counts)
    return Candidates(
        problem="p", depth=whole(1, 10_000), depth_frac=real(shares), value=real(shares), value_std=real(shares),
        born_value=real(shares), score_age=whole(0, 10_000), tries=tries, conversions=tries * real(shares),
        born_step=whole(-100, 100_000), idle=whole(-100, 100_000), td=real(shares), root_success=draw(shares),
        root_value=draw(shares),
    )


signals = st.builds(
    Signals, entropy=st.floats(0.0, 20.0), unique_frac=shares, new_solves=st.floats(0.0, 1000.0), solve_rate=shares
)


@st.composite
def progresses(draw: Any) -> Progress:
    history = tuple(draw(st.lists(signals, max_size=70)))
    budget = draw(st.integers(1, 10**9))
    return Progress(
        step=draw(st.integers(-100, 10**6)), sampled_tokens=draw(st.integers(0, 2 * budget)), token_budget=budget,
        history=history, first=history[0] if history else None,
        peak=max(history, key=lambda s: s.new_solves, default=None),
    )


harvests = st.builds(
    Harvest, fresh_tokens=st.integers(0, 10**9), fresh_solved=st.integers(0, 10**5),
    replayed_tokens=st.integers(0, 10**9), replayed_solved=st.integers(0, 10**5),
)


@pytest.mark.parametrize("name", SELECTIONS)
@settings(max_examples=15, deadline=None)
@given(given_candidates=candidates(), progress=progresses(), seed=st.integers(0, 2**32))
def test_every_ranking_is_finite_and_a_function_of_its_arguments(
    name: str, given_candidates: Candidates, progress: Progress, seed: int
) -> None:
    selection = make(option("selection", name), "replay.selection")
    once, twice = (selection.rank(given_candidates, progress, np.random.default_rng(seed)) for _ in range(2))
    assert once.shape == (len(given_candidates),) and np.isfinite(once).all()
    assert np.array_equal(once, twice)


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.tuples(progresses(), harvests), min_size=1, max_size=6))
def test_every_plan_stays_in_its_bounds_whatever_has_happened(name: str, steps: list[tuple[Any, Any]]) -> None:
    schedule, twin = (make(option("schedule", name), "replay.schedule") for _ in range(2))
    node = option("schedule", name)
    largest = max((node[key] for key in ("rho", "rho_max") if key in node), default=0.0)
    for progress, harvest in steps:
        plan = schedule.plan(progress)
        assert 0.0 <= plan.fraction <= largest and 0.0 <= plan.eligible_frac <= 1.0 and 0.0 <= plan.depth_max <= 1.0
        schedule.update(progress, harvest)
    twin.load_state_dict(schedule.state_dict())
    assert [twin.plan(progress) for progress, _ in steps] == [schedule.plan(progress) for progress, _ in steps]


@pytest.mark.parametrize("name", sorted(FALLING | RISING))
@settings(max_examples=30, deadline=None)
@given(progress=progresses(), tokens=st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)))
def test_ramps_never_turn(name: str, progress: Progress, tokens: tuple[int, int]) -> None:
    schedule = make(option("schedule", name), "replay.schedule")
    earlier, later = (schedule.plan(replace(progress, sampled_tokens=n)).fraction for n in sorted(tokens))
    assert earlier >= later if name in FALLING else earlier <= later


@settings(max_examples=30, deadline=None)
@given(progress=progresses(), done=st.tuples(shares, shares))
def test_dynamic_and_the_curriculum_only_come_nearer_to_the_prompt(
    progress: Progress, done: tuple[float, float]
) -> None:
    schedule = make(option("schedule", "dynamic"), "replay.schedule")
    earlier, later = (
        schedule.plan(replace(progress, token_budget=10**6, sampled_tokens=round(d * 10**6))) for d in sorted(done)
    )
    assert earlier.depth_max >= later.depth_max and earlier.eligible_frac == later.eligible_frac


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(progresses(), st.just(NOTHING)), min_size=1, max_size=8))
def test_delayed_never_ends(steps: list[tuple[Any, Any]]) -> None:
    schedule, on = make(option("schedule", "delayed"), "replay.schedule"), False
    for progress, harvest in steps:
        fraction = schedule.plan(progress).fraction
        assert fraction > 0.0 or not on
        on = on or fraction > 0.0
        schedule.update(progress, harvest)


@settings(max_examples=15, deadline=None)
@given(st.lists(harvests, min_size=1, max_size=10), harvests)
def test_adaptive_roi_gives_no_less_where_replay_brought_more(past: list[Harvest], last: Harvest) -> None:
    one, more = (make(option("schedule", "adaptive_roi"), "replay.schedule") for _ in range(2))
    progress = Progress(step=3, sampled_tokens=10, token_budget=100, history=(), first=None, peak=None)
    for harvest in past:
        one.update(progress, harvest)
        more.update(progress, harvest)
    one.update(progress, last)
    more.update(progress, replace(last, replayed_solved=last.replayed_solved + 1))
    assert more.plan(progress).fraction >= one.plan(progress).fraction


PROBLEMS = [a_problem(f"p{i}", max_response=6) for i in range(4)]


@st.composite
def attempts(draw: Any) -> Attempt:
    """Of any length, with given tokens in between, fresh or from any prefix."""
    problem = draw(st.sampled_from(PROBLEMS))
    own, said = st.integers(3, 8), st.integers(-9, -4)
    prefix = draw(st.one_of(st.just(()), st.tuples(own), st.tuples(own, said), st.tuples(own, said, own)))
    room = Start(problem=problem, prefix=prefix).room
    turns = draw(st.lists(st.tuples(own, st.lists(said, max_size=2)), min_size=1, max_size=room))
    tokens = [t for token, spoken in turns for t in (token, *spoken)][: -len(turns[-1][1]) or None]
    values = draw(nps.arrays(np.float32, len(tokens), elements=st.floats(0, 1, width=32)))
    return Attempt(start=Start(problem=problem, prefix=prefix), tokens=tuple(tokens), value=values, entropy=values,
                   score=draw(shares), solved=draw(st.booleans()), ended=True)


@settings(max_examples=15, deadline=None)
@given(batches=st.lists(st.lists(attempts(), max_size=12), min_size=1, max_size=6))
@pytest.mark.parametrize("dedup", ["exact", "ancestor"])
def test_a_replay_that_was_saved_and_loaded_is_the_same_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, dedup: str, batches: list[list[Attempt]]
) -> None:
    def new() -> Any:
        return a_replay(admission="random_cut", selection="td_error", schedule=("adaptive_roi", {}),
                        store={"dedup": dedup, "slots_per_problem": 4, "capacity": 10})

    replay, loaded = new(), new()
    last = Progress(step=9, sampled_tokens=5, token_budget=9, history=(), first=None, peak=None)
    for step, batch in enumerate(batches):
        replay.observe(batch, replace(last, step=step, sampled_tokens=step))
    folder: Path = tmp_path_factory.mktemp("saved")
    state, _ = checkpoint.load(checkpoint.save(folder / "state", replay.state_dict(), {}))
    loaded.load_state_dict(state)
    assert same(loaded.state_dict(), replay.state_dict()) and loaded.rows() == replay.rows()
    for one in (replay, loaded):
        one.observe(batches[0], last)
    assert same(loaded.state_dict(), replay.state_dict()) and loaded.draw(last, 8) == replay.draw(last, 8)
    for start in replay.store.starts(replay.store.shelf.all_rows()):   # whatever was said, a state is the policy's turn
        assert start.room >= 1


WEIGHTS = sorted(path.stem for path in (CONF / "problem_weight").glob("*.yaml"))


@pytest.mark.parametrize("name", WEIGHTS)
@settings(max_examples=30, deadline=None)
@given(problems=st.lists(st.tuples(shares, st.integers(0, 10**9)), max_size=12), data=st.data())
def test_a_problems_weight_is_finite_its_own_and_falls_with_success(
    name: str, problems: list[tuple[float, int]], data: Any
) -> None:
    weight = make(option("problem_weight", name), "replay.problem_weight")
    order = data.draw(st.permutations(range(len(problems))))
    success, replays = np.array([s for s, _ in problems]), np.array([n for _, n in problems], dtype=np.int64)
    found = weight.weight(success, replays)
    assert found.shape == success.shape and np.isfinite(found).all() and (found >= 0.0).all()
    assert np.array_equal(weight.weight(success[order], replays[order]), found[order])
    assert (weight.weight(success, replays) <= weight.weight(success / 2, replays)).all()
