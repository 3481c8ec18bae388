"""Further schedules and problem weights, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rrl.build import make
from rrl.records import Harvest, Signals
from rrl.replay.schedule.plateau_trigger import rise
from tests.unit.replay.builders import NOTHING, a_problem, a_replay, an_attempt, option, progress_at, row_of


def schedule(name: str, **changed: Any) -> Any:
    return make(option("schedule", name) | changed, "replay.schedule")


def signals(*, entropy: float = 1.0, rate: float = 0.1) -> Signals:
    return Signals(entropy=entropy, unique_frac=1.0, new_solves=0.0, solve_rate=rate)


def at(*history: Signals, done: float = 0.1, first: float = 1.0) -> Any:
    return progress_at(5, done=done, history=history, first=signals(entropy=first), peak=signals())


@pytest.mark.parametrize(("name", "expected"), [
    ("linear_up", [0.0, 0.1, 0.2, 0.4]),
    ("linear_down", [0.4, 0.3, 0.2, 0.0]),
    ("cosine_up", [0.0, 0.2 * (1 - 0.5**0.5), 0.2, 0.4]),     # cos(pi / 4) = sqrt(1/2)
    ("cosine_down", [0.4, 0.2 * (1 + 0.5**0.5), 0.2, 0.0]),
])
def test_ramps_follow_the_share_of_the_budget(name: str, expected: list[float]) -> None:
    seen = [schedule(name).plan(progress_at(3, done=done)) for done in (0.0, 0.25, 0.5, 1.0)]
    assert [plan.fraction for plan in seen] == pytest.approx(expected)
    assert {(plan.eligible_frac, plan.depth_max) for plan in seen} == {(1.0, 1.0)}
    assert schedule(name, rho_max=1.0).plan(progress_at(3, done=0.5)).fraction == pytest.approx(0.5)


def test_delayed_begins_at_the_solve_rate_and_never_stops() -> None:
    one = schedule("delayed", smooth_steps=2)
    weak, able = [signals(rate=0.2), signals(rate=0.4)], [signals(rate=0.3), signals(rate=0.4)]
    assert one.plan(at(*weak)).fraction == 0.0     # mean .3 < .35
    assert one.plan(at(*able)).fraction == 0.4     # mean .35
    one.update(at(*weak), NOTHING)
    assert one.plan(at(*weak)).fraction == 0.0
    one.update(at(*able), NOTHING)
    assert one.plan(at(*weak)).fraction == 0.4


def test_delayed_waits_for_enough_steps_but_not_beyond_the_latest_start() -> None:
    one = schedule("delayed", smooth_steps=2)
    assert one.plan(at(signals(rate=1.0))).fraction == 0.0
    assert one.plan(at(done=0.29)).fraction == 0.0
    assert one.plan(at(done=0.3)).fraction == 0.4


def test_entropy_trigger_has_hysteresis() -> None:
    one = schedule("entropy_trigger", smooth_steps=1)
    seen = []
    for entropy in (1.2, 1.0, 0.99, 1.05, 1.1, 1.11, 1.05, 0.9):   # H_0 = 2: on below 1, off above 1.1
        now = at(signals(entropy=entropy), first=2.0)
        seen.append(one.plan(now).fraction)
        one.update(now, NOTHING)
    assert seen == [0.0, 0.0, 0.4, 0.4, 0.4, 0.0, 0.0, 0.4]


def test_entropy_trigger_averages_and_is_silent_before_any_signal() -> None:
    one = schedule("entropy_trigger", smooth_steps=2)
    assert one.plan(progress_at(0)).fraction == 0.0
    assert one.plan(at(signals(entropy=0.1), signals(entropy=0.7), signals(entropy=0.4))).fraction == 0.0   # .55
    assert one.plan(at(signals(entropy=0.9), signals(entropy=0.5), signals(entropy=0.4))).fraction == 0.4   # .45


@pytest.mark.parametrize(("name", "key", "begins"), [
    ("delayed", "begun", at(done=0.5)),
    ("entropy_trigger", "active", at(signals(entropy=0.1))),
])
def test_a_trigger_goes_on_after_a_reload(name: str, key: str, begins: Any) -> None:
    one, twin, between = schedule(name), schedule(name), at(signals(entropy=0.52), done=0.0)
    one.update(begins, NOTHING)
    assert one.state_dict() == {key: True}
    twin.load_state_dict(one.state_dict())
    assert one.plan(between).fraction == twin.plan(between).fraction == 0.4
    assert schedule(name).plan(between).fraction == 0.0


def test_a_line_through_four_rates_rises_from_end_to_end() -> None:
    # places -1.5 -.5 .5 1.5: slope (-.15 + .45) / 5 = .06, over three steps
    assert rise(np.array([0.0, 0.3, 0.0, 0.3])) == pytest.approx(0.18)
    assert rise(np.array([0.5, 0.4])) == pytest.approx(-0.1)


def test_plateau_trigger_is_on_while_the_line_rises_too_little() -> None:
    one = schedule("plateau_trigger", window_steps=3, min_rise=0.02)
    rates = lambda *values: at(*(signals(rate=v) for v in values))   # noqa: E731
    assert one.plan(rates(0.1, 0.1)).fraction == 0.0                  # not enough is known
    assert one.plan(rates(0.0, 0.10, 0.10, 0.11)).fraction == 0.4     # rise .01 of the last three
    assert one.plan(rates(0.0, 0.10, 0.12, 0.13)).fraction == 0.0     # .03
    assert one.plan(rates(0.9, 0.5, 0.1)).fraction == 0.4             # falling is no rise


def test_plateau_trigger_refuses_a_window_longer_than_the_memory() -> None:
    with pytest.raises(ValueError, match=r"window_steps is 101; expected at most 100"):
        schedule("plateau_trigger", window_steps=101).plan(at())


def yields(fresh: float, replayed: float, *, tokens: int = 1000, replayed_tokens: int = 1000) -> Harvest:
    """Solved rows per 1,000 tokens of either stream."""
    return Harvest(fresh_tokens=tokens, fresh_solved=round(fresh * tokens / 1000), replayed_tokens=replayed_tokens,
                   replayed_solved=round(replayed * replayed_tokens / 1000))


def test_adaptive_roi_moves_a_proportional_share_at_once_and_an_integral_for_good() -> None:
    one = schedule("adaptive_roi", decay=0.0)   # the last step alone
    fraction = lambda: one.plan(progress_at(0)).fraction   # noqa: E731
    assert fraction() == 0.25
    one.update(progress_at(0), yields(1, 3))               # e = (3 - 1) / (3 + 1) = .5
    assert fraction() == pytest.approx(0.25 + 0.1 * 0.5 + 0.01 * 0.5)
    one.update(progress_at(0), yields(2, 2))               # equal pay: what was moved for good stays
    assert fraction() == pytest.approx(0.25 + 0.005)
    one.update(progress_at(0), yields(2, 0))               # e = -1
    assert fraction() == pytest.approx(0.25 - 0.1 - 0.005)
    one.update(progress_at(0), yields(0, 0))               # nothing is known of a step that solved nothing
    assert fraction() == pytest.approx(0.25 - 0.005)
    assert one.plan(progress_at(0, done=0.95)).fraction == 0.0 < one.plan(progress_at(0, done=0.94)).fraction


def test_adaptive_roi_looks_back_and_waits_while_nothing_is_replayed() -> None:
    one = schedule("adaptive_roi", decay=0.5, gain_p=0.0)
    one.update(progress_at(0), yields(4, 0, replayed_tokens=0))
    assert one.plan(progress_at(0)).fraction == 0.25
    one.update(progress_at(0), yields(0, 4))               # fresh: (2 + 0) / 1500 = 4/3; replayed: 4; e = .5
    assert one.plan(progress_at(0)).fraction == pytest.approx(0.25 + 0.01 * 0.5)
    one.update(progress_at(0), yields(4, 0, replayed_tokens=0))
    assert one.plan(progress_at(0)).fraction == pytest.approx(0.25 + 0.01 * 0.5)


def test_adaptive_roi_stays_in_its_bounds_and_does_not_wind_up() -> None:
    one = schedule("adaptive_roi", decay=0.0, gain_p=0.0)
    for _ in range(200):
        one.update(progress_at(0), yields(0, 5))
    assert one.plan(progress_at(0)).fraction == 0.5
    one.update(progress_at(0), yields(5, 0))               # the first step the other way already counts
    assert one.plan(progress_at(0)).fraction == pytest.approx(0.49)
    for _ in range(200):
        one.update(progress_at(0), yields(5, 0))
    assert one.plan(progress_at(0)).fraction == pytest.approx(0.05)


@pytest.mark.parametrize("balance", [0.15, 0.4])
def test_adaptive_roi_finds_the_share_at_which_both_streams_pay_alike(balance: float) -> None:
    # The more is replayed the less it pays: y_r = 2 balance / rho against y_f = 2, equal at rho = balance.
    one, twin = schedule("adaptive_roi"), schedule("adaptive_roi")
    for _ in range(400):
        rho = one.plan(progress_at(0)).fraction
        one.update(progress_at(0), yields(2, 2 * balance / rho, tokens=100_000, replayed_tokens=100_000))
    assert one.plan(progress_at(0)).fraction == pytest.approx(balance, abs=0.02)
    twin.load_state_dict(one.state_dict())
    assert twin.plan(progress_at(0)) == one.plan(progress_at(0))


def test_adaptive_roi_hears_of_every_step_but_the_warm_up() -> None:
    replay, p = a_replay(schedule=("adaptive_roi", {"decay": 0.0})), a_problem()
    replay.observe([an_attempt(p, (3, 4))], progress_at(-1), warm_up=True)
    assert replay._schedule.state_dict()["sums"]["fresh_tokens"] == 0.0
    replay.observe([an_attempt(p, (5, 6)), an_attempt(p, (7,), prefix=(3,), solved=True)], progress_at(0))
    assert replay._schedule.state_dict()["sums"] == {
        "fresh_tokens": 2.0, "fresh_solved": 0.0, "replayed_tokens": 1.0, "replayed_solved": 1.0}


@pytest.mark.parametrize(("name", "changed", "expected"), [
    ("adaptive_roi", {"rho_min": 0.3}, "replay.schedule.rho_min is 0.3, rho_first 0.25"),
    ("adaptive_roi", {"gain_i": -0.1}, "gain_i -0.1"),
    ("adaptive_roi", {"decay": 1.0}, "replay.schedule.decay is 1.0"),
    ("linear_up", {"rho_max": 1.1}, "replay.schedule.rho_max is 1.1"),
    ("linear_down", {"rho_max": -0.1}, "replay.schedule.rho_max is -0.1"),
    ("cosine_up", {"rho_max": 2.0}, "replay.schedule.rho_max is 2.0"),
    ("cosine_down", {"rho_max": 2.0}, "replay.schedule.rho_max is 2.0"),
    ("delayed", {"latest": 1.5}, "replay.schedule.latest is 1.5"),
    ("delayed", {"smooth_steps": 0}, "replay.schedule.smooth_steps is 0"),
    ("entropy_trigger", {"rho": 1.5}, "replay.schedule.rho is 1.5"),
    ("entropy_trigger", {"entropy_frac": 0.0}, "replay.schedule.entropy_frac is 0.0"),
    ("plateau_trigger", {"rho": 1.5}, "replay.schedule.rho is 1.5"),
    ("plateau_trigger", {"window_steps": 1}, "replay.schedule.window_steps is 1"),
])
def test_impossible_numbers_are_refused_by_name(name: str, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        schedule(name, **changed)


def test_all_failed_weighs_problems_whose_last_two_fresh_rows_failed() -> None:
    one = make(option("problem_weight", "all_failed"), "replay.problem_weight")
    assert one.weight(np.array([0.0, 0.081, 0.09, 0.5]), np.array([9, 0, 0, 0])).tolist() == [1.0, 1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="replay.problem_weight.below is 0.0"):
        make(option("problem_weight", "all_failed") | {"below": 0.0}, "replay.problem_weight")


def test_all_failed_replays_a_problem_again_after_two_failures_in_a_row() -> None:
    replay, p = a_replay(problem_weight="all_failed", admission="first_boundary"), a_problem()
    replay.observe([an_attempt(p, (3, 4))], progress_at(-1), warm_up=True)
    assert row_of(replay.store, p, (3,)) == 0
    drawn = []
    for step, solved in enumerate([True, False, False, False]):   # e_p after it: .1, .09, .081, .0729
        replay.observe([an_attempt(p, (3, 4), solved=solved)], progress_at(step))
        drawn.append(len(replay.draw(progress_at(step + 1), 4)))
    assert drawn == [0, 0, 1, 1]
