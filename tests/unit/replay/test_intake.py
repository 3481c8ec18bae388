"""A batch that goes into a store at once leaves what its proposals leave one after another."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from rrl.replay.eviction import worst
from rrl.replay.store import Store
from tests.unit.replay.builders import a_prefix, a_problem, a_proposal, a_store, same
from tests.unit.replay.one_by_one import add_singly, worst_row

PROBLEMS = [a_problem(f"p{i}", max_response=9) for i in range(5)]
VALUES = st.sampled_from([0.1, 0.3, 0.3000001, 0.5, 0.9])

one_proposal = st.tuples(
    st.integers(0, 4), st.lists(st.sampled_from([3, 4, -5]), min_size=1, max_size=4).map(tuple), VALUES,
    st.sampled_from(["keep"] * 6 + ["quarantine", "drop"]), st.integers(0, 2),
)
batches = st.lists(st.tuples(st.lists(one_proposal, max_size=14), st.sampled_from([0.1, 0.5])), max_size=5)
happenings = st.lists(st.tuples(st.sampled_from(["win", "nap", "sleep", "retire", "park", "quarantine"]),
                                st.integers(0, 99)), max_size=4)  # fmt: skip


def happen(store: Store, what: str, which: int) -> None:
    """Something that training does to an entry, or to its problem, between two batches."""
    rows, c, p = store.shelf.all_rows(), store.shelf.columns, store.problems.columns
    if not len(rows):
        return
    row = int(rows[which % len(rows)])
    number = int(c["problem"][row])
    if what == "win":
        c["raw_conversions"][row], c["conversions"][row], c["tries"][row] = 1, 1.0, 1.5
    elif what == "nap":
        c["naps"][row] = 3
    elif what == "sleep":
        c["sleep_until"][row] = 1
    elif what == "retire":
        p["root_success"][number] = 0.9
    elif what == "park":
        p["parked"][number] = not p["parked"][number]
    else:
        store.set_kept(row, False)
    store.booked([number])


def put_at_once(store: Store, batch: list[Any], done: float, step: int) -> list[Any]:
    asked = list[int]()

    def judged(place: int) -> str:
        asked.append(place)
        return str(batch[place][3])

    made = [a_proposal(a_prefix(PROBLEMS[n], t, value=v, step=step + s)) for n, t, v, _, s in batch]
    added = store.add(made, done_frac=done, judged=judged, td=lambda place: place / 16)
    settled = {"refused_retired"}, {"refused_duplicate"}
    assert asked == sorted(asked) and not any(added[place].outcome in settled[0] for place in asked)
    assert all(a.outcome in settled[0] | settled[1] for place, a in enumerate(added) if place not in asked)
    return [tuple(a) for a in added]


def put_singly(store: Store, batch: list[Any], done: float, step: int) -> list[Any]:
    return [
        tuple(add_singly(store, a_prefix(PROBLEMS[n], t, value=v, step=step + s), done_frac=done, verdict=verdict,
                         td=place / 16, reward=0.0))
        for place, (n, t, v, verdict, s) in enumerate(batch)
    ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(batches=batches, between=happenings, dedup=st.sampled_from(["ancestor", "exact"]), slots=st.integers(1, 5),
       capacity=st.integers(1, 14))  # fmt: skip
def test_a_batch_leaves_what_single_adds_leave(
    batches: list[Any], between: list[Any], dedup: str, slots: int, capacity: int
) -> None:
    one, many = (a_store(dedup=dedup, slots_per_problem=slots, capacity=capacity) for _ in range(2))
    for step, (batch, done) in enumerate(batches):
        assert put_at_once(many, batch, done, 3 * step) == put_singly(one, batch, done, 3 * step)
        assert same(many.state_dict(), one.state_dict()) and many.changed == one.changed
        assert all(many.shelf.find(row["key"]) is not None for row in many.rows())
        for what, which in between:
            for store in (one, many):
                happen(store, what, which)


@settings(max_examples=60, deadline=None)
@given(batches=batches, between=happenings, protect=st.lists(st.booleans(), min_size=5, max_size=5))
def test_who_gives_way_first_is_found_for_many_problems_as_for_one(
    batches: list[Any], between: list[Any], protect: list[bool]
) -> None:
    store = a_store(dedup="exact", slots_per_problem=9, capacity=40)
    for step, (batch, done) in enumerate(batches):
        put_at_once(store, batch, done, step)
        for what, which in between:
            happen(store, what, which)
    numbers = store.shelf.problems
    rows, counts = store.shelf.rows_of_many(numbers)
    stay = np.array(protect[: len(numbers)])
    found = worst(store.shelf.columns, rows, counts, stay, kappa=2.0, max_naps=3)
    for number, first, keeps in zip(numbers, found, stay.tolist(), strict=True):
        own = list(store.shelf.rows_of(number))
        for newcomer in (0.05, 0.3, 0.5, np.inf):
            wanted = worst_row(store, own, protect_early=keeps, newcomer=newcomer)
            assert (first.row if first.gives_way_to(newcomer) else None) == wanted


def test_what_was_added_before_a_filter_fails_stays_whole() -> None:
    store = a_store()

    def judged(place: int) -> str:
        if place == 2:
            raise OSError("no answer")
        return "keep"

    made = [a_proposal(a_prefix(PROBLEMS[0], (3 + i,))) for i in range(4)]
    with pytest.raises(OSError, match="no answer"):
        store.add(made, done_frac=0.5, judged=judged, td=lambda _: 0.0)
    assert [r["tokens"] for r in store.rows()] == [[3], [4]] and len(store) == 2
    assert [store.shelf.find(p.key) is not None for p in made] == [True, True, False, False]


def test_a_state_that_came_in_the_same_batch_may_go_in_it() -> None:
    # Room for two: .5 of p0 and .2 of p1. Round-robin asks p0 first, where .9 beats the .5 of this very batch; then p1,
    # where .1 does not beat .2.
    store = a_store(capacity=2)
    batch = [(0, (3,), 0.5, "keep", 0), (1, (3,), 0.2, "keep", 0), (0, (4,), 0.9, "keep", 0), (1, (4,), 0.1, "keep", 0)]
    assert [outcome for outcome, _ in put_at_once(store, batch, 0.5, 0)] == ["admitted"] * 3 + ["refused_worse"]
    assert [(r["problem"], r["value"]) for r in store.rows()] == [("p0", 0.9), ("p1", 0.2)]
