"""Saved trajectories that a store is to be made of: a row, or one line with file and number."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rrl.hosts.task import HostCodec
from rrl.hosts.trajectories import Trajectory, read
from tests.text import chat_tokenizer

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user") | SCALARS, "content": SCALARS}), max_size=2)
IDS = st.lists(st.integers(-1, 2**33), max_size=3)
TURNS = st.lists(st.fixed_dictionaries({"tokens": SCALARS | st.fixed_dictionaries(
    {"prompt_ids": IDS | SCALARS, "completion_ids": IDS | SCALARS})}) | SCALARS, max_size=2)   # fmt: skip
ROWS = st.fixed_dictionaries({}, optional={
    "prompt": SCALARS | MESSAGES | IDS, "completion": SCALARS | MESSAGES | IDS, "reward": SCALARS | st.floats(0, 1),
    "step": SCALARS | st.integers(0, 9), "trajectory": SCALARS | TURNS | st.dictionaries(st.text(max_size=2), SCALARS),
})   # fmt: skip
LINES = st.one_of(ROWS.map(lambda row: json.dumps(row).encode()), st.binary(max_size=20), SCALARS.map(
    lambda v: json.dumps(v).encode()), st.sampled_from([b"[" * 100_000, b'{"prompt": ' * 20_000, b"\xff\xfe"]))
CODEC = HostCodec(chat_tokenizer())
GOOD: dict[str, Any] = {"prompt": "a", "completion": "b", "reward": 1.0}


def rows_of(data: bytes) -> list[Trajectory]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(data)
        try:
            return list(read([path], CODEC))
        except ValueError as error:
            assert f"{path}:" in str(error) and "\n" not in str(error) and len(str(error)) < 500, error
    return []


@settings(max_examples=150)
@given(lines=st.lists(LINES, max_size=3))
@example(lines=[json.dumps(GOOD | {"trajectory": 7}).encode()])
@example(lines=[json.dumps(GOOD | {"trajectory": [{"tokens": 7}]}).encode()])
@example(lines=[json.dumps(GOOD | {"trajectory": {"0": 1}}).encode()])
@example(lines=[json.dumps(GOOD | {"reward": 10**400}).encode()])
@example(lines=[b'{"prompt": "\\ud800", "completion": "b", "reward": 1}'])
def test_any_lines_are_rows_or_one_line(lines: list[bytes]) -> None:
    for row in rows_of(b"\n".join(lines)):
        assert row.prompt and row.completion and all(0 <= t < 2**31 for t in row.prompt + row.completion)


@pytest.mark.parametrize(("changed", "said"), [
    ({"trajectory": 7}, "trajectory is 7; expected a list of one turn"),
    ({"reward": 10**20}, "reward is 100000000000000000000; expected a finite number"),
    ({"prompt": "\ud800"}, r'prompt is "\\ud800"; expected a text'), ({"completion": [2**31]}, "completion is"),
])  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | changed) + "\n")
    with pytest.raises(ValueError, match=f"rows.jsonl:2: {said}"):
        list(read([path], CODEC))
