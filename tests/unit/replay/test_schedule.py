from __future__ import annotations

from typing import Any

import pytest

from rrl.build import make
from rrl.records import Plan, Signals
from tests.unit.replay.builders import option, progress_at


def plan(name: str, *args: Any, changed: dict[str, Any] | None = None, **kwargs: Any) -> Plan:
    schedule = make(option("schedule", name) | (changed or {}), "replay.schedule")
    result: Plan = schedule.plan(progress_at(*args, **kwargs))
    return result


def signals(*, entropy: float = 1.0, unique: float = 1.0, new: float = 0.0, rate: float = 0.1) -> Signals:
    return Signals(entropy=entropy, unique_frac=unique, new_solves=new, solve_rate=rate)


def test_none_and_constant_never_change() -> None:
    for done in (0.0, 0.5, 1.0):
        assert plan("none", 3, done=done).fraction == 0.0
        assert plan("constant", 3, done=done) == Plan(fraction=0.25, eligible_frac=1.0, depth_max=1.0)


def test_the_window_is_open_from_30_up_to_95_percent_of_the_tokens() -> None:
    seen = [plan("window", 3, done=done).fraction for done in (0.0, 0.29999, 0.3, 0.6, 0.94999, 0.95, 1.0)]
    assert seen == [0.0, 0.0, 0.4, 0.4, 0.4, 0.0, 0.0]


def test_dynamic_grows_with_the_budget_used_up_to_the_ramp() -> None:
    # no signals yet: E = 1, no plateau; rho = .4 x .3 x ramp
    seen = [plan("dynamic", 3, done=done).fraction for done in (0.0, 0.1, 0.2, 0.5)]
    assert seen == pytest.approx([0.0, 0.06, 0.12, 0.12])


def test_dynamic_grows_as_exploration_weakens_and_opens_more_of_the_store() -> None:
    now = signals(entropy=0.5, unique=0.5)     # half of the first: E = .5
    weak = plan("dynamic", 3, done=0.5, history=[now], first=signals(), peak=signals())
    assert weak.fraction == pytest.approx(0.4 * (0.3 + 0.5 * 0.5))
    assert weak.eligible_frac == pytest.approx(0.5 + 0.5 * 0.5)
    assert weak.depth_max == pytest.approx(0.6)   # halfway from .9 to .3


def test_dynamic_adds_the_plateau_once_both_windows_are_known() -> None:
    still = [signals(rate=0.1)] * 60
    rising = [signals(rate=0.1)] * 50 + [signals(rate=0.12)] * 10
    kwargs = {"done": 0.5, "first": signals(), "peak": signals()}
    assert plan("dynamic", 3, history=still[:59], **kwargs).fraction == pytest.approx(0.12)
    assert plan("dynamic", 3, history=still, **kwargs).fraction == pytest.approx(0.12 + 0.4 * 0.2)
    assert plan("dynamic", 3, history=rising, **kwargs).fraction == pytest.approx(0.12)


def test_dynamic_is_capped_and_replays_nothing_in_the_last_tenth() -> None:
    dead = {"history": [signals(entropy=0.0, unique=0.0)] * 60, "first": signals(), "peak": signals()}
    assert plan("dynamic", 3, done=0.89, **dead).fraction == pytest.approx(0.4)
    assert plan("dynamic", 3, done=0.89, changed={"w_explore": 5.0}, **dead).fraction == pytest.approx(0.4)
    assert plan("dynamic", 3, done=0.9, **dead).fraction == 0.0


@pytest.mark.parametrize(("name", "changed", "expected"), [
    ("constant", {"rho": 1.5}, "replay.schedule.rho is 1.5"),
    ("window", {"first": 0.9, "last": 0.5}, "replay.schedule.first is 0.9 and last 0.5"),
    ("dynamic", {"ramp_end": 0.0}, "replay.schedule.ramp_end is 0.0"),
    ("dynamic", {"plateau_steps": 0}, "replay.schedule.plateau_steps is 0"),
])
def test_impossible_numbers_are_refused_by_name(name: str, changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        plan(name, 3, changed=changed)
