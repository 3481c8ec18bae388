"""Bytes that nobody meant: a file of problems gives rows and bad rows, or one line that names file and key."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rrl.task.data.row import Table
from rrl.task.data.tables import Tables

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
LONE = st.characters(categories=["Cs"])   # halves of characters
VALUES = st.recursive(SCALARS | LONE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["prompt", "answer", "x", "0"]), inner, max_size=3), max_leaves=6)   # fmt: skip
ROWS = st.dictionaries(st.sampled_from(["prompt", "answer", "solution", "level", "x"]), VALUES, max_size=4)
LINES = st.one_of(ROWS.map(lambda row: json.dumps(row).encode()), VALUES.map(lambda v: json.dumps(v).encode()),
                  st.binary(max_size=20), st.sampled_from([b"[" * 100_000, b'{"prompt": ' * 20_000, b"1" * 5000,
                                                           b"\x00", b'{"prompt": 1e999, "answer": NaN}',
                                                           b"\xef\xbb\xbf{}"]))


def table_of(data: bytes, suffix: str = ".jsonl", field: str = "prompt") -> Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows{suffix}"
        path.write_bytes(data)
        tables = Tables(train=(str(path),), heldout=(str(path),), prompt=field, answer="answer", solution="solution",
                        answer_after=None, remove=None, level=None, hard_levels=())
        return tables.read(seed=0, num_train=1, num_heldout=1)[0]


def check(table: Table, num_lines: int) -> None:
    assert len(table.rows) + len(table.bad) <= num_lines
    for row in table.rows:
        (row.prompt + row.answer + (row.solution or "")).encode()   # whole characters
        assert ":" in row.where
    assert all(bad.why and "\n" not in bad.where for bad in table.bad)


@settings(max_examples=150)
@given(lines=st.lists(LINES, max_size=4))
@example(lines=[b'{"prompt": "\\ud800", "answer": "1", "solution": ""}'])
def test_any_lines_are_rows_or_bad_rows(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    check(table_of(data), data.count(b"\n") + 1)


@settings(max_examples=60)
@given(content=VALUES)
def test_any_path_into_any_row_is_a_value_or_a_reason(content: Any) -> None:
    data = json.dumps({"prompt": content, "answer": "1", "solution": "1"}).encode()
    for field in ("prompt", "prompt.0", "prompt.x.0", "", ".", "prompt."):
        check(table_of(data, field=field), 1)


@settings(max_examples=80)
@given(data=st.binary(max_size=60) | LINES, suffix=st.sampled_from([".json", ".parquet"]))
@example(data=b"PAR1" + b"\x00" * 20 + b"PAR1", suffix=".parquet")
@example(data=b"[" * 100_000, suffix=".json")
def test_any_bytes_as_a_whole_file_are_read_or_refused_in_one_line(data: bytes, suffix: str) -> None:
    try:
        check(table_of(data, suffix), 10)
    except ValueError as error:
        assert "task.data.train" in str(error) and suffix in str(error)


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"prompt": ["a"] * 50, "answer": ["b"] * 50, "solution": ["c"] * 50}), path)
    whole = path.read_bytes()
    assert len(table_of(whole, ".parquet").rows) == 50
    for at in range(0, len(whole), 37):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            try:
                check(table_of(data, ".parquet"), 50)
            except ValueError as error:
                assert "task.data.train" in str(error)


def test_half_a_character_is_a_bad_row_that_says_so() -> None:
    table = table_of(b'{"prompt": "a \\ud800", "answer": "1", "solution": "1"}')
    assert not table.rows and table.bad[0].why == "has half a character in 'prompt'; expected whole Unicode text"


def test_deep_nesting_is_a_bad_row_that_says_so() -> None:
    table = table_of(b"[" * 100_000)
    assert not table.rows and table.bad[0].why == "is not JSON (nested too deeply)"


@pytest.mark.parametrize("text", ['{"prompt": "a", "answer": "1", "solution": "\\ud83d\\ude00"}'])
def test_two_halves_of_one_character_are_a_character(text: str) -> None:
    assert table_of(text.encode()).rows[0].solution == "\U0001f600"
