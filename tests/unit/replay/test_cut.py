from __future__ import annotations

from typing import Any

import pytest

from rrl.build import make
from tests.unit.replay.builders import a_problem, an_attempt, option

P = a_problem(max_response=20)
TEN = an_attempt(P, range(3, 11), prefix=(1, 2))   # a response of ten tokens


def boundaries(name: str, attempt: Any = TEN, task: Any = None, **changed: Any) -> list[int]:
    cut = make(option("cut", name) | changed, "replay.cut", task=task)
    found: list[int] = cut.boundaries(attempt)
    return found


def test_token_cuts_every_k_tokens_from_t_min_strictly_inside() -> None:
    assert boundaries("token") == list(range(1, 10))
    assert boundaries("token", every=3, t_min=2) == [2, 5, 8]
    assert boundaries("token", an_attempt(P, (3,))) == []


def test_fixed_cuts_equal_parts() -> None:
    assert boundaries("fixed") == [2, 5, 7]
    assert boundaries("fixed", an_attempt(P, (3, 4))) == [1]   # 0, 1 and 1
    assert boundaries("fixed", an_attempt(P, (3,))) == []


def test_steps_asks_the_task_for_the_whole_response_and_keeps_what_is_inside() -> None:
    class Task:
        def steps(self, problem: Any, response: tuple[int, ...]) -> list[int]:
            assert problem is P and response == (1, 2, *range(3, 11))
            return [7, 0, 3, 3, 10]

    assert boundaries("steps", task=Task()) == [3, 7]


def test_impossible_numbers_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="replay.cut.every is 0"):
        boundaries("token", every=0)
    with pytest.raises(ValueError, match="replay.cut.parts is 1"):
        boundaries("fixed", parts=1)
