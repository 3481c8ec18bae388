from __future__ import annotations

import numpy as np
import pytest

from rrl.replay.posterior import posterior_mean
from rrl.replay.sleep import SleepRule, book_tries
from rrl.replay.store import Store
from tests.unit.replay.builders import a_prefix, a_problem, a_store, add, row_of

P = a_problem()
RULE = SleepRule(dead_after=16, nap_steps=50, nap_max=400)


def one_state() -> tuple[Store, int]:
    store = a_store()
    add(store, a_prefix(P, (3,)))
    return store, row_of(store, P, (3,))


def book(store: Store, row: int, tries: int, wins: int, step: int) -> None:
    one = (np.array([number]) for number in (row, tries, wins))
    book_tries(store.shelf.columns, *one, step=step, decay=0.95, rule=RULE)


def test_the_posterior_mean_weighs_the_value_as_kappa_tries() -> None:
    mean = posterior_mean(np.array([1.0, 0.0]), np.array([2.0, 0.0]), np.array([0.5, 0.3]), 2.0)
    np.testing.assert_allclose(mean, [0.5, 0.3])   # (1 + 1) / (2 + 2), (0 + .6) / (0 + 2)


def test_a_steps_tries_are_booked_together_and_forgotten_by_the_power() -> None:
    store, row = one_state()
    book(store, row, 2, 1, step=0)   # c = 1, n = 2
    book(store, row, 3, 2, step=1)   # c = .95^3 1 + 2, n = .95^3 2 + 3
    c = store.shelf.columns
    assert c["conversions"][row] == pytest.approx(0.857375 + 2)
    assert c["tries"][row] == pytest.approx(1.71475 + 3)
    assert (c["raw_tries"][row], c["raw_conversions"][row], c["last_used"][row]) == (5, 3, 1)


def test_sixteen_failures_in_a_row_put_a_state_to_sleep_for_50_100_200_400_400_steps() -> None:
    store, row = one_state()
    step, naps = 0, []
    for _ in range(5):
        for _ in range(16):
            assert store.open_places(step)[row]
            book(store, row, 1, 0, step)
            step += 1
        fell_asleep = step - 1
        while not store.open_places(step)[row]:
            step += 1
        naps.append(step - 1 - fell_asleep)
    assert naps == [50, 100, 200, 400, 400]


def test_falling_asleep_quarters_the_counts() -> None:
    store, row = one_state()
    book(store, row, 4, 1, step=0)    # c = 1, n = 4
    book(store, row, 16, 0, step=1)   # c = .95^16, n = 4 x .95^16 + 16, then quartered
    decayed = 0.95**16
    assert store.shelf.columns["conversions"][row] == pytest.approx(decayed / 4)
    assert store.shelf.columns["tries"][row] == pytest.approx((4 * decayed + 16) / 4)


def test_one_conversion_resets_the_nap_to_fifty_steps() -> None:
    store, row = one_state()
    book(store, row, 16, 0, step=0)
    book(store, row, 16, 0, step=100)
    assert store.shelf.columns["sleep_until"][row] == 200
    book(store, row, 1, 1, step=300)
    assert store.shelf.columns["naps"][row] == 0
    book(store, row, 15, 0, step=301)
    assert store.open_places(302)[row]
    book(store, row, 1, 0, step=302)
    assert store.shelf.columns["sleep_until"][row] == 352


def test_a_conversion_among_failures_of_the_same_step_counts_as_awake_whatever_the_order() -> None:
    store, row = one_state()
    book(store, row, 40, 1, step=0)
    assert store.open_places(1)[row] and store.shelf.columns["fails_in_a_row"][row] == 0
