"""Equality decided by the expected value; a reply is never trusted and never dear."""

import json

import pytest

from rrl.sandbox.same import same
from rrl.sandbox.values import encode, parse
from tests.cpu import counted

EXACT = {"tolerance": 0.0, "sequences_alike": False}


def same_wire(expected, wire, **how):
    return same(expected, parse(json.dumps(wire).encode()), **(EXACT | how))


def equal(expected, value, **how):
    return same_wire(expected, encode(value), **how)


VALUES = [
    0, 1, True, False, 1.0, 2, -1, 0.0, "", "a", "1", None, b"a", [], [1], [[1], 2], (), (1,), (1, [2]), {}, {"a": 1},
    {1: "a"}, {"a": [1]}, set(), {1, 2}, frozenset([1, 2]), {(1, 2)}, 1 << 70, 2.0**70, 1j, complex(1, 0), {None: 0},
    {"a": 1, "b": 2}, [1, 2], (1, 2), "12",
]  # fmt: skip


def test_it_agrees_with_python_on_every_pair():
    for expected in VALUES:
        for value in VALUES:
            assert equal(expected, value) == (expected == value), (expected, value)


def test_floats_have_a_tolerance_where_a_float_is_expected():
    assert equal(0.3, 0.1 + 0.2, tolerance=1e-9) and not equal(0.3, 0.1 + 0.2)
    assert equal([1.0, {"a": 2.0}], (1, {"a": 2.0000001}), tolerance=1e-6, sequences_alike=True)
    assert not equal(3, 3.0000001, tolerance=1e-6)  # a whole number is expected
    assert not equal(1.0, 1.1, tolerance=1e-6)
    assert not equal(1.0, 10**400, tolerance=1e-6)  # beyond all floats
    assert not equal(float("nan"), float("nan"), tolerance=1e-6)
    assert equal(float("inf"), float("inf")) and not equal(1.0, float("inf"), tolerance=0.5)


def test_a_tuple_is_a_list_where_the_data_has_no_tuples():
    assert not equal([1, 2], (1, 2)) and not equal((1, 2), [1, 2])
    assert equal([1, [2, 3]], (1, (2, 3)), sequences_alike=True)
    assert not equal([1, 2], {1, 2}, sequences_alike=True)


@pytest.mark.parametrize("wire", [
    {"x": "list"}, {"y": 1}, {"t": "ab"}, {"d": [[1]]}, {"d": ["ab"]}, {"d": [[[1], 2]]}, {"s": [1, 1]}, {"s": [[1],
    2]},
    {"d": [["a", 1], ["a", 1]]}, {"i": "no"}, {"f": "no"}, {"ts": []}, {"": []}, [{"x": "int"}],
])  # fmt: skip
def test_what_is_no_value_equals_nothing(wire):
    for expected in VALUES:
        assert not same_wire(expected, wire)


def test_a_nested_reply_is_unequal_and_no_error():
    held = [[1]]
    for _ in range(90):
        held = [held]
    assert equal(held, held)
    wire = json.loads("[" * 900 + "]" * 900)
    assert not same([[[]]], wire, **EXACT)
    assert not same({(1,)}, {"s": [wire]}, **EXACT)


def test_keys_whose_hashes_collide_cost_nothing():
    prime = 2**61 - 1  # Python's hash of an int is its rest by this
    num = 20_000
    keys = [{"i": hex(i * prime)} for i in range(1, num + 1)]
    expected = dict.fromkeys(range(num), 0)
    with counted() as cost:
        assert not same(expected, {"d": [[key, 0] for key in keys]}, **EXACT)
        assert not same(set(expected), {"s": keys}, **EXACT)
        assert not same({1}, {"s": [{"z": keys}]}, **EXACT)  # a frozenset of them as the one item
        assert not same({"a": 1}, {"d": [[{"t": keys}, 1]]}, **EXACT)
        assert not same(1, {"z": keys}, **EXACT) and not same([1], [{"s": keys}], **EXACT)
        assert not same("a", {"d": [[key, 0] for key in keys]}, **EXACT)
    assert cost.seconds < 1.0  # built as a set, they take minutes
