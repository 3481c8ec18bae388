"""Further admissions and credits, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rrl.build import make
from rrl.records import Candidates
from tests.unit.replay.builders import a_problem, an_attempt, option, some_candidates

P = a_problem(max_response=20)
VALUES = (0.10, 0.15, 0.30, 0.20, 0.12)   # of five sampled tokens


def cuts(
    name: str, values: Any = VALUES, *, prefix: tuple[int, ...] = (), solved: bool = False,
    root: Candidates | None = None, boundaries: Any = range(1, 12), **changed: Any,
) -> list[int]:
    """Depths of what is proposed."""
    attempt = an_attempt(P, range(3, 3 + len(values)), prefix=prefix, solved=solved, value=values)
    admission = make(option("admission", name) | changed, "replay.admission")
    proposed = admission.propose(attempt, list(boundaries), root, 7)
    for one in proposed:
        t = len(one.tokens)
        assert one.tokens == attempt.response[:t] and one.born_step == 7 and one.parent == attempt.start.key
        assert one.born_value == pytest.approx(values[t - len(prefix)])
        assert one.origin == ("replay" if prefix else "rollout") and one.depth_frac == t / len(attempt.response)
    return [len(one.tokens) for one in proposed]


def test_value_threshold_takes_the_earliest_boundary_that_reaches_the_bar() -> None:
    assert cuts("value_threshold", tau=0.15) == [1]
    assert cuts("value_threshold", tau=0.2) == [2]
    assert cuts("value_threshold", tau=0.2, boundaries=[1, 3, 4]) == [3]
    assert cuts("value_threshold", tau=0.31) == []
    assert cuts("value_threshold", tau=0.0, prefix=(1, 2)) == [3]   # behind its own start
    assert cuts("value_threshold", tau=0.0, solved=True) == []


def test_gain_asks_for_more_than_the_bare_prompt_of_a_fresh_attempt() -> None:
    assert cuts("gain") == [1]                      # .15 - .10, exactly the default bar
    assert cuts("gain", min_gain=0.06) == [2]
    assert cuts("gain", min_gain=0.21) == []
    assert cuts("gain", solved=True) == []


def test_gain_of_a_replayed_attempt_is_against_the_stored_value_of_the_bare_prompt() -> None:
    root = replace(some_candidates(value=[0.9]), root_value=0.2)
    assert cuts("gain", prefix=(1, 2), root=root) == [4]                   # .30 >= .20 + .05
    assert cuts("gain", prefix=(1, 2), root=root, min_gain=-0.05) == [3]   # .15 >= .15
    assert cuts("gain", prefix=(1, 2), root=None) == []                    # evicted: V(x) is not known


def test_peak_drop_takes_the_boundary_before_the_deepest_fall() -> None:
    assert cuts("peak_drop") == [2]                                        # .30 - .12
    assert cuts("peak_drop", (0.9, 0.2, 0.3, 0.8, 0.7)) == [3]             # .1 at the others; the start itself is none
    assert cuts("peak_drop", (0.0, 0.5, 0.1, 0.5, 0.1)) == [1]             # the earliest of equals
    assert cuts("peak_drop", prefix=(1, 2)) == [4]
    assert cuts("peak_drop", solved=True) == []


def test_peak_drop_needs_a_fall_that_counts_and_does_not_count_the_end() -> None:
    assert cuts("peak_drop", (0.1, 0.2, 0.3, 0.4)) == []
    assert cuts("peak_drop", (0.9, 0.9)) == []
    assert cuts("peak_drop", min_drop=0.19) == []


def weight(origin: str, **attempt: Any) -> float:
    one = an_attempt(P, (4,), **({"prefix": (3,), "solved": True} | attempt))
    credit = make(option("credit", "sft") | {"eta": 2.0, "eta_canonical": 0.5}, "replay.credit")
    assert credit.weight(one, 0.0, origin) == credit.weight(one, 0.9, origin)   # whatever e_p is
    result: float = credit.weight(one, 0.5, origin)
    return result


def test_sft_gives_every_converted_prefix_the_weight_of_its_origin() -> None:
    assert [weight(origin) for origin in ("rollout", "replay", "canonical")] == [2.0, 2.0, 0.5]
    assert weight("rollout", solved=False) == weight("canonical", prefix=()) == 0.0
    assert make(option("credit", "sft") | {"token_divisor": 6.0}, "replay.credit").token_divisor() == 6.0


@pytest.mark.parametrize(("group", "name", "changed", "expected"), [
    ("admission", "value_threshold", {"tau": 1.1}, "replay.admission.tau is 1.1"),
    ("admission", "gain", {"min_gain": 2.0}, "replay.admission.min_gain is 2.0"),
    ("admission", "peak_drop", {"min_drop": 0.0}, "replay.admission.min_drop is 0.0"),
    ("credit", "sft", {"eta": -1.0}, "replay.credit.eta is -1.0"),
    ("credit", "sft", {"token_divisor": 0.0}, "token_divisor 0.0"),
])
def test_impossible_numbers_are_refused_by_name(
    group: str, name: str, changed: dict[str, float], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        make(option(group, name) | changed, f"replay.{group}")
