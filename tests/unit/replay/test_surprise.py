"""The surprise that td_error ranks by: where it is booked, and its numbers by hand."""

from __future__ import annotations

import pytest

from rrl.replay.surprise import surprise
from rrl.types import Tokens, given
from tests.unit.replay.builders import a_problem, a_replay, an_attempt, progress_at, row_of, same

P = a_problem(max_response=12, solution=(3, 4, 5, 6))


def of(values: tuple[float, ...], t: int, *, solved: bool = False, prefix: Tokens = ()) -> float:
    return surprise(an_attempt(P, range(3, 3 + len(values)), value=values, solved=solved, prefix=prefix), t)


def test_surprise_is_the_largest_step_of_the_value_behind_the_cut_the_outcome_included() -> None:
    assert of((0.2, 0.6, 0.5), 0) == pytest.approx(0.5)                        # the failure itself
    assert of((0.2, 0.9, 0.1), 0) == pytest.approx(0.8)
    assert of((0.2, 0.9, 0.1), 2) == pytest.approx(0.1)
    assert of((0.2, 0.9, 0.1), 2, solved=True) == pytest.approx(0.9)
    assert of((0.2, 0.9, 0.1), 3, prefix=(7, 8)) == pytest.approx(0.8)         # place 3 is its second own token
    assert of((0.2, 0.9, 0.1), 1, prefix=(7, 8)) == pytest.approx(0.8)         # behind the start all is counted


def test_a_given_token_is_no_surprise_of_its_own() -> None:
    heard = an_attempt(P, (3, *given((9,)), 4), value=(0.2, 0.5, 0.5))         # it holds the next one's value
    assert surprise(heard, 0) == pytest.approx(0.5) and surprise(heard, 2) == pytest.approx(0.5)


def td(replay, tokens: Tokens) -> float:
    return float(replay.store.shelf.columns["td"][row_of(replay.store, P, tokens)])


def test_the_column_holds_the_surprise_of_the_way_on_when_stored_and_the_mean_of_the_last_tries_after_it() -> None:
    replay = a_replay()
    replay.observe([an_attempt(P, (3, 9, 9), value=(0.2, 0.6, 0.3))], progress_at(0))
    assert td(replay, (3,)) == pytest.approx(0.3)
    tries = [an_attempt(P, (4, 5), prefix=(3,), value=(0.5, 0.4), solved=True),      # .6
             an_attempt(P, (9, 5), prefix=(3,), value=(0.5, 0.3))]                   # .3
    replay.observe(tries, progress_at(1))
    assert td(replay, (3,)) == pytest.approx(0.45)
    candidates = replay.store.candidates([replay.store.shelf.all_rows()], 1)[0]
    assert td(replay, (3,)) in candidates.td.tolist()
    loaded = a_replay()
    loaded.load_state_dict(replay.state_dict())
    assert td(loaded, (3,)) == td(replay, (3,)) and same(loaded.state_dict(), replay.state_dict())


def test_a_state_that_nobody_has_walked_on_from_counts_as_the_largest_surprise() -> None:
    class Told:
        name, vocab_size = "told", 12

        def right_prefix(self, problem: object) -> Tokens:
            return (3, 4)

    replay = a_replay(admission="canonical", task=Told())
    replay.observe([an_attempt(P, (9, 9), value=(0.2, 0.2))], progress_at(0))
    assert td(replay, (3, 4)) == 1.0
