from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from rrl import turned
from rrl.records import Attempt
from rrl.turned import Turned
from rrl.types import Problem, Start

PROBLEM = Problem(id="p", prompt=(1, 2), answer="", solution=(), task="fake", difficulty="hard", max_response=9,
                  stop=(), exact_length=False)  # fmt: skip


def rows(prefix: tuple[int, ...], solved: Sequence[bool], tokens: Sequence[tuple[int, ...]] = ()) -> list[Attempt]:
    """Rows that began from ``prefix`` (none: fresh)."""
    tokens = tokens or [(9,)] * len(solved)
    return [
        Attempt(start=Start(problem=PROBLEM, prefix=prefix), tokens=t, value=np.zeros(len(t)), entropy=np.zeros(len(t)),
                score=float(s), solved=s, ended=True)
        for s, t in zip(solved, tokens, strict=True)
    ]  # fmt: skip


def spelt(tokens: Sequence[int]) -> str:
    return " ".join(map(str, tokens))


def test_a_prefix_that_failed_at_first_and_was_solved_later_is_told_with_all_its_tries():
    seen = Turned()
    seen.observe(rows((5,), [False, False]) + rows((), [True]), 3)
    seen.observe(rows((5,), [False]), 4)
    assert seen.rows(spelt) == []
    seen.observe(rows((5,), [True, False, True], [(8, -4), (9,), (7, 7)]), 6)
    seen.observe(rows((5,), [False]), 7)
    (row,) = seen.rows(spelt)
    assert row | {"key": ""} == {
        "key": "", "problem": "p", "prompt": "1 2", "prefix": "5", "continuation": "7 7", "failures": 3,
        "turned_step": 6, "tries": [(3, 2, 0), (4, 1, 0), (6, 3, 2), (7, 1, 0)],
    }  # fmt: skip


def test_a_prefix_that_was_solved_the_first_time_did_not_turn():
    seen = Turned()
    seen.observe(rows((5,), [True, False]), 0)
    seen.observe(rows((6,), [False]), 0)
    seen.observe(rows((6,), [False]), 1)
    assert seen.rows(spelt) == []


def test_what_the_environment_said_is_read_as_text_too():
    seen = Turned()
    seen.observe(rows((5, -4), [False]), 0)
    seen.observe(rows((5, -4), [True], [(-1,)]), 1)
    assert (seen.rows(spelt)[0]["prefix"], seen.rows(spelt)[0]["continuation"]) == ("5 3", "0")


def test_saved_as_json_and_loaded_it_goes_on_as_if_never_stopped():
    whole, first, second = Turned(), Turned(), Turned()
    steps = [rows((5,), [False]) + rows((6,), [False]), rows((6,), [True]), rows((5,), [False, True])]
    for step, batch in enumerate(steps):
        whole.observe(batch, step)
    first.observe(steps[0], 0)
    first.observe(steps[1], 1)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    second.observe(steps[2], 2)
    assert second.state_dict() == whole.state_dict() and second.rows(spelt) == whole.rows(spelt)
    assert len(second.rows(spelt)) == 2


def test_rows_in_any_order_give_the_same_record():
    batches = [rows((5,), [False, False]) + rows((6,), [False]), rows((5,), [True, True], [(8,), (7,)])]
    one, other = Turned(), Turned()
    for step, batch in enumerate(batches):
        one.observe(batch, step)
        other.observe(batch[::-1], step)
    assert one.state_dict() == other.state_dict()


def test_the_record_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turned, "_MOST_PENDING", 3)
    monkeypatch.setattr(turned, "_MOST_TURNED", 2)
    monkeypatch.setattr(turned, "_MOST_TRIES", 4)
    seen = Turned()
    for prefix in (2, 3, 4, 5):  # the longest unused, (2,), is forgotten
        seen.observe(rows((prefix,), [False] * prefix), 0)
    for step in range(1, 9):
        seen.observe(rows((5,), [False]), step)
    for prefix in (2, 3, 4, 5):
        seen.observe(rows((prefix,), [True]), 9)
    told = seen.rows(spelt)
    assert [(row["prefix"], row["failures"]) for row in told] == [("5", 8), ("4", 4)]  # fewest failures left first
    assert told[0]["tries"] == [(0, 5, 0), (7, 1, 0), (8, 1, 0), (9, 1, 1)]  # the first, and the newest
    assert sum(len(t) for _, t in seen.state_dict()["tries"]) <= 4 * (3 + 2)
