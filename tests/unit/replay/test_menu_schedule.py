"""Further schedules and problem weights, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rrl.build import make
from rrl.records import Signals
from rrl.replay.schedule.plateau_trigger import rise
from tests.unit.replay.builders import a_problem, a_replay, an_attempt, option, progress_at, row_of


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
    one.update(at(*weak))
    assert one.plan(at(*weak)).fraction == 0.0
    one.update(at(*able))
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
        one.update(now)
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
    one.update(begins)
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


@pytest.mark.parametrize(("name", "changed", "expected"), [
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
