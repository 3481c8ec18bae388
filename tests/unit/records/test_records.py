"""Progress, exploration and the small records, with numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rrl.records import Attempt, Plan, Prefix, Progress, Signals
from rrl.types import Start, prefix_key
from tests.unit.learner.tabular import problem


def signals(entropy: float, unique: float = 1.0, new: float = 0.0, rate: float = 0.0) -> Signals:
    return Signals(entropy=entropy, unique_frac=unique, new_solves=new, solve_rate=rate)


def begun(**changed: object) -> Progress:
    numbers = {"step": 0, "sampled_tokens": 0, "token_budget": 100, "history": (), "first": None, "peak": None}
    return Progress(**(numbers | changed))  # type: ignore[arg-type]


def test_fractions_are_of_tokens() -> None:
    assert begun(sampled_tokens=25).done_frac == 0.25 and not begun(sampled_tokens=99).finished
    assert begun(sampled_tokens=130).done_frac == 1.0 and begun(sampled_tokens=100).finished


def test_exploration_is_one_before_any_signal() -> None:
    assert begun().exploration == 1.0


def test_exploration_by_hand() -> None:
    # H / H_0 = 1/2, u / u_0 = .4 / .8 = 1/2, new solves 0 of a maximum of 10: (1/2 + 1/2 + 0) / 3.
    first, now = signals(2.0, 0.8, 10.0), signals(1.0, 0.4, 0.0)
    progress = begun().after(tokens=1, signals=first)
    assert progress.exploration == pytest.approx(1.0)
    for _ in range(10):  # ten steps fill the window
        progress = progress.after(tokens=1, signals=now)
    assert progress.exploration == pytest.approx(1 / 3)


def test_exploration_averages_the_last_ten_steps_and_clips_each_part() -> None:
    # First H = 1; then nine steps at 1 and one at 0: mean .9. Unique share doubled: clipped to 1.
    progress = begun().after(tokens=1, signals=signals(1.0, 0.5))
    for entropy in [1.0] * 9 + [0.0]:
        progress = progress.after(tokens=1, signals=signals(entropy, 1.0))
    assert progress.exploration == pytest.approx((0.9 + 1.0) / 2)  # no problem was solved yet: two parts


def test_after_counts_keeps_the_first_and_the_peaks_and_forgets_old_history() -> None:
    progress = begun(history_len=3)
    for i, (entropy, new) in enumerate([(2.0, 1.0), (3.0, 0.0), (1.0, 5.0), (0.5, 2.0)]):
        progress = progress.after(tokens=10, signals=signals(entropy, new=new, rate=i / 10))
    assert (progress.step, progress.sampled_tokens) == (4, 40)
    assert [s.entropy for s in progress.history] == [3.0, 1.0, 0.5]
    assert progress.first == signals(2.0, new=1.0)
    assert progress.peak == signals(3.0, new=5.0, rate=0.3)


def test_a_step_without_fresh_rows_moves_the_place_only() -> None:
    before = begun(step=-2).after(tokens=5, signals=None)
    assert (before.step, before.sampled_tokens, before.first, before.history) == (-1, 5, None, ())


def test_a_prefix_knows_its_key_and_refuses_what_it_is_not() -> None:
    fields = {
        "problem": problem("p"),
        "origin": "rollout",
        "born_step": 0,
        "born_value": 0.5,
        "depth_frac": 0.5,
        "parent": "",
    }
    assert (
        Prefix(tokens=(1, 2), **fields).key == Start(problem=problem("p"), prefix=(1, 2)).key == prefix_key("p", (1, 2))
    )
    with pytest.raises(ValueError, match="Prefix.tokens of 'p' is empty; a fresh start is not stored"):
        Prefix(tokens=(), **fields)
    with pytest.raises(ValueError, match="Prefix.origin is 'stolen'; expected rollout, replay or canonical"):
        Prefix(tokens=(1,), **fields | {"origin": "stolen"})


def test_an_attempt_has_a_value_and_an_entropy_for_each_token() -> None:
    with pytest.raises(ValueError, match="tokens, value and entropy have lengths 2, 1, 2; expected equal lengths"):
        Attempt(
            start=Start(problem=problem("p")),
            tokens=(1, 2),
            value=np.zeros(1),
            entropy=np.zeros(2),
            score=0.0,
            solved=False,
            ended=True,
        )


@pytest.mark.parametrize("field", ["fraction", "eligible_frac", "depth_max"])
def test_a_plan_holds_shares(field: str) -> None:
    with pytest.raises(ValueError, match=rf"Plan.{field} is 1.5; expected a number in \[0, 1\]"):
        Plan(**({"fraction": 0.5, "eligible_frac": 0.5, "depth_max": 0.5} | {field: 1.5}))
