"""Values between processes: nothing but plain ones, and nothing that is dear to read."""

import json
import math
from collections import Counter, OrderedDict, defaultdict, namedtuple
from enum import IntEnum

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rrl.sandbox.values import NotPlain, decode, encode, parse, size
from tests.cpu import counted

KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.floats(allow_nan=False))
PLAIN = st.recursive(
    st.one_of(KEYS, st.complex_numbers(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(KEYS, inner), st.sets(KEYS), st.frozensets(KEYS)
    ),
    max_leaves=20,
)


def crossed(value):
    return decode(parse(json.dumps(encode(value)).encode()))


def alike(a, b):
    """Equal, and of the same types all the way down."""
    if type(a) is not type(b) or a != b:
        return False
    if isinstance(a, (list, tuple)):
        return all(map(alike, a, b))
    return not isinstance(a, dict) or all(alike(a[k], b[k]) for k in a)


@settings(max_examples=60)
@given(PLAIN)
def test_a_plain_value_crosses_as_itself(value):
    assert alike(crossed(value), value)


@pytest.mark.parametrize(("value", "wire"), [
    (7, 7), (True, True), (None, None), ("a", "a"), ([1, "b"], [1, "b"]),
    (1 << 53, {"i": "0x20000000000000"}), (-(1 << 60), {"i": "-0x1000000000000000"}), ((1 << 53) - 1, (1 << 53) - 1),
    (0.5, {"f": "0x1.0000000000000p-1"}), (math.inf, {"f": "inf"}), ((1, 2), {"t": [1, 2]}), ({1: 2}, {"d": [[1, 2]]}),
    ({3}, {"s": [3]}), (frozenset([3]), {"z": [3]}), (b"\xff", {"b": "ff"}), (bytearray(b"a"), {"b": "61"}),
    (1j, {"c": ["0x0.0p+0", "0x1.0000000000000p+0"]}), (object(), {"x": "object"}), (len,
    {"x": "builtin_function_or_method"}),
])  # fmt: skip
def test_the_grammar_by_hand(value, wire):
    assert encode(value) == wire and type(encode(value)) is type(wire)


def test_subclasses_cross_as_what_they_are_made_of():
    Point = namedtuple("Point", "x y")
    Level = IntEnum("Level", "LOW HIGH")
    made = [Counter("aab"), OrderedDict(a=1), defaultdict(int, b=2), Point(1, 2), Level.HIGH]
    found = [crossed(value) for value in made]
    assert found == [{"a": 2, "b": 1}, {"a": 1}, {"b": 2}, (1, 2), 2]
    assert [type(value) for value in found] == [dict, dict, dict, tuple, int]


def test_numbers_of_an_array_library_cross_as_numbers():
    numpy = pytest.importorskip("numpy")
    assert crossed([numpy.int64(3), numpy.float32(0.5), numpy.bool_(True)]) == [3, 0.5, True]
    assert encode(numpy.zeros(2)) == {"x": "ndarray"}


HOSTILE = [
    b"", b"{", b"NaN", b"Infinity", b"1.5", b"1e999", b"[1, 2.0]", b"\xff", b"{}", b'{"v": 1, "w": 2}',
    b'{"v": 1, "v": 2}',
    b"9" * 5000, b"[" * 100_000, b'{"t": ' * 100_000, b'"\\ud800', b"1 2", b"[1,]", b"'a'",
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: repr(line[:20]))
def test_a_hostile_line_is_no_value(line):
    with pytest.raises(NotPlain):
        parse(line)


@pytest.mark.parametrize("wire", [
    {"x": "object"}, {"y": []}, {"": []}, {"t": "ab"}, {"t": 3}, {"s": [[1]]}, {"s": [{"d": []}]}, {"d": [[1]]},
    {"d": [[1, 2, 3]]}, {"d": [[[1], 2]]}, {"d": ["ab", 1]}, {"i": "zz"}, {"i": 5}, {"f": "nine"}, {"f": ["0x1p0"]},
    {"f": "0x1p9999"},
    {"c": ["0x0p0"]}, {"c": [1, 2]}, {"b": "f"}, {"b": "gg"}, [{"x": "y"}], {"t": [{"x": "y"}]},
])  # fmt: skip
def test_json_that_is_not_in_the_grammar_is_no_value(wire):
    with pytest.raises(NotPlain):
        decode(parse(json.dumps(wire).encode()))


def test_depth_is_bounded_both_ways():
    deep = []
    for _ in range(500):
        deep = [deep]
    wire = encode(deep)
    assert '{"x": "too deep"}' in json.dumps(wire)
    with pytest.raises(NotPlain, match="nested too deeply"):
        decode(json.loads("[" * 300 + "]" * 300))
    loop = []
    loop.append(loop)
    assert '{"x": "too deep"}' in json.dumps(encode(loop))


def test_size_counts_what_decoding_would_build():
    assert [size(w) for w in (1, [], [1, 2], {"t": [1, {"s": [2]}]}, {"d": [[1, 2]]})] == [1, 1, 3, 6, 5]


def test_a_megabyte_of_anything_is_read_at_once():
    megabyte = 1 << 20
    lines = [
        b'{"i": "0x' + b"f" * megabyte + b'"}', b'{"f": "0x' + b"0" * megabyte + b'1p0"}',
        b'{"b": "' + b"00" * (megabyte // 2) + b'"}',
        b"[" + b"[]," * (megabyte // 40) + b"1]", b'{"f": "' + b"1" * megabyte + b'"}',
        b'"' + b"\\u0000" * (megabyte // 6) + b'"',
        b'{"' + b"k" * megabyte + b'": 1}', b"-" * megabyte,
    ]  # fmt: skip
    with counted() as cost:
        for line in lines:
            try:
                decode(parse(line))
            except NotPlain:
                continue
    assert cost.seconds < 2.0
