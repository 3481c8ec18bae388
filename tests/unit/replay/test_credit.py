from __future__ import annotations

from typing import Any

import pytest

from rrl.build import make
from tests.unit.replay.builders import a_problem, an_attempt, option

P = a_problem()
SOLVED = an_attempt(P, (4,), prefix=(3,), solved=True)


def weight(
    name: str, attempt: Any = SOLVED, root_success: float = 0.25, origin: str = "rollout", **changed: Any
) -> float:
    result: float = make(option("credit", name) | changed, "replay.credit").weight(attempt, root_success, origin)
    return result


def test_positive_gives_what_the_bare_prompt_still_fails() -> None:
    assert weight("positive") == 0.75
    assert weight("positive", eta=2.0) == 1.5
    assert weight("positive", root_success=1.0) == 0.0


def test_positive_gives_nothing_to_failures_fresh_rows_and_unlisted_origins() -> None:
    assert weight("positive", an_attempt(P, (4,), prefix=(3,), score=0.4)) == 0.0   # a decoy's score is no solution
    assert weight("positive", an_attempt(P, (4,), solved=True)) == 0.0
    assert weight("positive", origin="canonical") == 0.0
    assert weight("positive", origin="canonical", origins=["canonical"]) == 0.75


def test_none_gives_nothing() -> None:
    assert weight("none") == 0.0


def test_the_divisor_is_the_options() -> None:
    assert make(option("credit", "positive") | {"token_divisor": 6.0}, "replay.credit").token_divisor() == 6.0


@pytest.mark.parametrize(("changed", "expected"), [
    ({"eta": -1.0}, "replay.credit.eta is -1.0"),
    ({"token_divisor": 0.0}, "and token_divisor 0.0"),
    ({"origins": ["oracle"]}, r"replay.credit.origins holds \['oracle'\]"),
])
def test_impossible_numbers_are_refused_by_name(changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        weight("positive", **changed)
