"""Alarms ring at what they are for, once in the log, and at nothing else."""

from __future__ import annotations

import logging

import pytest

from rrl.codec.byte import ByteCodec
from rrl.replay.alarm import Alarms
from tests.unit.replay.builders import Toy, a_problem, a_replay, an_attempt, progress_at


def rows(fresh: float, replayed: float) -> list[tuple[bool, bool]]:
    """Twenty of each stream, solved in these shares."""
    return [(r, i < round(20 * share)) for r, share in ((False, fresh), (True, replayed)) for i in range(20)]


def rung(steps: list[tuple[float, float]]) -> list[bool]:
    alarms = Alarms(watch_first=True)
    return ["forgetting" in alarms.outcomes([], rows(*step)) for step in steps]


def test_falling_success_of_bare_prompts_behind_rising_success_of_prefixes_rings_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alarms = Alarms(watch_first=True)
    with caplog.at_level(logging.WARNING):
        seen = [alarms.outcomes([], rows(0.5, 0.3)) for _ in range(60)]
        assert not any(seen)
        seen = [alarms.outcomes([], rows(0.2, 0.6)) for _ in range(20)]
    assert {"forgetting"} in seen and seen[0] == set()           # one bad step is no trend
    assert len(caplog.records) == 1 and "bare prompts are being forgotten" in caplog.text


@pytest.mark.parametrize("later", [(0.5, 0.6), (0.2, 0.3), (0.8, 0.6), (0.2, 0.1)])
def test_one_of_the_two_alone_is_no_forgetting(later: tuple[float, float]) -> None:
    assert not any(rung([(0.5, 0.3)] * 60 + [later] * 40))


def test_without_replayed_rows_nothing_is_forgotten_behind_them() -> None:
    alarms = Alarms(watch_first=True)
    seen = [alarms.outcomes([], [(False, step < 60)] * 20) for step in range(100)]
    assert not any(seen)


def test_hardly_any_choice_among_boundaries_rings_unless_it_is_meant() -> None:
    alarms, control = Alarms(watch_first=True), Alarms(watch_first=False)
    # 10 a step: 10, 19.8, 29.4, 38.8, 48.0, 57.1 remembered
    assert [alarms.admissions(10, 1.0) for _ in range(6)] == [False] * 5 + [True]
    assert not any(control.admissions(10, 1.0) for _ in range(20))
    other = Alarms(watch_first=True)
    assert not any(other.admissions(8, 7 / 8) for _ in range(20))
    assert any(other.admissions(10, 1.0) for _ in range(20))


def test_alarms_go_on_where_they_stopped() -> None:
    one, two = Alarms(watch_first=True), Alarms(watch_first=True)
    for _ in range(60):
        one.outcomes([0.0, 0.9], rows(0.5, 0.3))
        one.admissions(3, 1.0)
    two.load_state_dict(one.state_dict())
    assert two.state_dict() == one.state_dict()
    for _ in range(20):
        assert one.outcomes([], rows(0.2, 0.6)) == two.outcomes([], rows(0.2, 0.6))
        assert one.admissions(3, 1.0) == two.admissions(3, 1.0)
    assert two.state_dict() == one.state_dict() and one.state_dict()["rang"] == ["first_boundary", "forgetting"]


class Prose(Toy):
    """A toy that is spelled by a codec."""

    codec = ByteCodec()


@pytest.mark.parametrize(("admission", "values", "task", "rings"), [
    ("near_peak", (0.5, 0.5, 0.5), Prose(), True),       # the value is the same everywhere
    ("near_peak", (0.1, 0.2, 0.9), Prose(), False),
    ("near_peak", (0.5, 0.5, 0.5), Toy(), False),        # symbols: the first one may be the whole idea
    ("first_boundary", (0.5, 0.5, 0.5), Prose(), False),   # the control is meant to
])
def test_a_value_that_tells_no_boundaries_apart_is_noticed(
    admission: str, values: tuple[float, ...], task: Toy, rings: bool, caplog: pytest.LogCaptureFixture
) -> None:
    replay = a_replay(admission=admission, task=task)
    with caplog.at_level(logging.WARNING):
        for step in range(12):
            batch = [an_attempt(a_problem(f"{step}-{i}"), (3, 4, 5), value=values) for i in range(6)]
            replay.observe(batch, progress_at(step))
    assert ("cut at the first boundary" in caplog.text) == rings
