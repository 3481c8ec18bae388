"""Cuts between statements that Python itself parses, and what becomes of code that it does not."""

from __future__ import annotations

import ast
import warnings

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rrl.build import make
from rrl.replay.cut.ast import gaps_of, longest_parse
from tests.unit.replay.builders import a_problem, an_attempt, option

P = a_problem(max_response=2000)

PROGRAM = '''\
import math

def area(r):
    """Of a circle;
    r in metres."""
    if r < 0:
        raise ValueError(
            "negative"
        )
    # positive by now
    return math.pi * r * r

x = area(1); y = [
    2,
]
for i in y:
    x += i
'''


class Characters:
    """One token a character."""

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def decode(self, tokens: tuple[int, ...]) -> str:
        return "".join(map(chr, tokens))


def heads(text: str, **changed: object) -> list[str]:
    """The line that stands behind each boundary; every boundary is at the beginning of one."""
    task = Characters()
    cut = make(option("cut", "ast") | {"apart": 1} | changed, "replay.cut", task=task)
    found = cut.boundaries(an_attempt(P, task.encode(text)))
    assert all(text[t - 1] == "\n" for t in found)
    return [text[t:].split("\n")[0].strip() for t in found]


def test_cuts_stand_behind_complete_statements_nested_ones_too() -> None:
    assert heads(PROGRAM) == [
        "def area(r):", "if r < 0:", "# positive by now", "x = area(1); y = [", "for i in y:",
    ]   # not inside the docstring, the call, or the list that begins on a line on which x ends


def test_blank_lines_belong_to_what_stands_before_them() -> None:
    assert heads("a = 1\n\n\nb = 2\nc") == ["b = 2", "c"]
    assert gaps_of("a\n\nb(2,\n3)\nc", conditional=False) == [(2, 3), (11, 11), (12, 12)]


def test_conditionals_are_cut_before_also_where_they_begin_a_block() -> None:
    assert heads(PROGRAM, before="conditional") == ["if r < 0:", "for i in y:"]
    nested = "for a in b:\n  while c:\n    pass\n  try:\n    d\n  finally:\n    e\nif f:\n  g\nelif h:\n  i\nj"
    assert heads(nested, before="conditional") == ["while c:", "try:", "if f:", "elif h:"]


def test_unfinished_code_is_cut_where_it_was_still_finished() -> None:
    assert heads("a = 1\ndef f(x):\n    b = 2\n    if x:\n") == ["def f(x):", "if x:"]
    assert heads("a = 1\nb = (2,\n3,\n") == ["b = (2,"]
    assert heads("a = 1\ns = '''never\nclosed\n") == ["s = '''never"]


def test_nothing_is_cut_behind_what_does_not_parse() -> None:
    assert heads("a = 1\nb = = 2\nc = 3\nd = 4\n") == ["b = = 2"]
    assert heads("Let us see.\nx = 1\ny = 2\n") == []
    assert heads("  indented = 1\nb = 2\n") == []
    assert heads("a = 1\nb = '\0'\nc = 2") == ["b = '\0'"]
    assert heads("(" * 400 + "\na = 1\nb = 2") == []


def test_only_what_stands_in_fences_is_code() -> None:
    text = "First\n```python\na = 1\nb = 2\n```\nthen = 3\nc = 4\n```\nd = 5\ne = 6"
    assert heads(text) == ["b = 2", "```", "e = 6"]


def test_columns_and_lines_are_pythons_own() -> None:
    assert heads("a = '\u20ac\u20ac'\nb = 1\n") == ["b = 1"]
    assert heads("a = '\x0c \u2028'\nb = 1\nc") == ["b = 1", "c"]      # breaks for str.splitlines, not for Python
    assert heads("a = 1\r\nb = 2\r\nc") == ["b = 2", "c"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert heads("a = '\\d'\nb = 1") == ["b = 1"]


LINES = st.sampled_from([
    "a = 1", "if a:", "  b = 2", "    c = 3", "else:", "  pass", "def f(x):", "  return (x,", "x)", ")", "'''",
    "# note", "", "for i in b:", "@d", "x = [1,", "]", "b = = 2", "a; b", "try:", "except E:", "class A:",
    "\\", "a = \\",
])


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=9))
def test_the_longest_beginning_that_parses_is_found(lines: list[str]) -> None:
    whole = [line + "\n" for line in lines]

    def parses(num: int) -> bool:
        try:
            ast.parse("".join(whole[:num]))
        except SyntaxError:
            return False
        return True

    longest = next(n for n in range(len(whole), -1, -1) if parses(n))
    assert ast.dump(longest_parse(whole)) == ast.dump(ast.parse("".join(whole[:longest])))
    for _, last in gaps_of("".join(whole), conditional=False):   # what stands before a boundary is accepted by Python
        assert parses("".join(whole)[:last].count("\n"))


def test_impossible_numbers_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="replay.cut.apart is 0"):
        heads("a", apart=0)
    with pytest.raises(ValueError, match="replay.cut.before is 'loop'"):
        heads("a", before="loop")
