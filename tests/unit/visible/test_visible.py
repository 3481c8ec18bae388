"""Nothing that a model wrote moves a cursor, turns a line round, starts a formula, or cannot be written down."""

from __future__ import annotations

import json

import pytest

from rrl.visible import csv_cell, json_line, shown, visible


def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    assert shown("a\x1b[2J\x00\x7f\tb\n") == "a\u241b[2J\u2400\u2421\tb\n"
    assert shown("\x9b2J\x85") == "\\x9b2J\\x85"  # 8-bit forms of ESC [ and of a new line
    assert shown("in\u202egpj.exe\u2066x\u2028y") == "in\\u202egpj.exe\\u2066x\\u2028y"
    assert shown("half \ud83d a face, and a whole \U0001f600 \u6f22") == "half ? a face, and a whole \U0001f600 \u6f22"


def test_what_is_cut_is_counted() -> None:
    assert visible("abcdef", 2) == "ab ... and 4 characters more" and visible("ab", 2) == "ab"
    assert len(visible("x" * 10_000_000, 100)) < 140


@pytest.mark.parametrize("text", ["\x1b[31m", "\x9b2J", "\u202e", "\ud800", "\x00", '"\\', "\u6f22\U0001f600"])
def test_a_line_of_json_holds_all_of_it_and_harms_no_terminal(text: str) -> None:
    line = json_line({"prefix": text})
    assert json.loads(line) == {"prefix": text}
    assert line.encode() and shown(line) == line and line.count("\n") == 1


def test_a_line_of_json_is_read_by_people() -> None:
    assert json_line({"a": "\u6f22"}) == '{"a": "\u6f22"}\n'


@pytest.mark.parametrize(("cell", "written"), [
    ("=cmd|'/C calc'!A0", "'=cmd|'/C calc'!A0"), ("@SUM(A1)", "'@SUM(A1)"), ("+experiment=ppo", "'+experiment=ppo"),
    ("-1e-3", "-1e-3"), ("+inf", "+inf"), (-2.5, -2.5), ("rrl", "rrl"), ("", ""), ("\t=1", "'\t=1"),
])  # fmt: skip
def test_a_cell_of_a_table_is_no_formula(cell: object, written: object) -> None:
    assert csv_cell(cell) == written
