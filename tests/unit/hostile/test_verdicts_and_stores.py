"""Review files and saved stores that were written by anything else: read, or refused by file and place."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl import checkpoint
from rrl.replay import segments
from rrl.replay.filter.review import read_decisions
from rrl.review import main
from tests.unit.replay.builders import a_prefix, a_problem, a_store, add, same

ANY = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
KEYS = st.sampled_from(["0123456789abcdef", "0123", "x" * 16, "\ud800" * 16]) | ANY
DECISIONS = st.sampled_from(["approved", "rejected", "", "Approved"]) | ANY
OBJECTS = st.fixed_dictionaries({}, optional={"key": KEYS, "decision": DECISIONS, "prefix": st.text(max_size=5)})
LINES = st.one_of(OBJECTS.map(lambda o: json.dumps(o).encode()), st.binary(max_size=12), ANY.map(
    lambda v: json.dumps(v).encode()), st.sampled_from([b"[" * 100_000, b"\xff\xfe", b"\xef\xbb\xbf"]))   # fmt: skip


@settings(max_examples=150)
@given(lines=st.lists(LINES, max_size=4))
def test_any_review_file_is_read_or_refused_by_its_line(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "review.jsonl"
        path.write_bytes(b"\n".join(lines))
        try:
            assert set(read_decisions(path).values()) <= {"approved", "rejected"}
        except ValueError as error:
            assert f"{path}, line " in str(error) and "expected" in str(error)


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    line = json.dumps({"key": "0" * 16, "decision": "approved", "prefix": "a\u2028b\x0bc\x85"}, ensure_ascii=False)
    path.write_text(line + "\n", encoding="utf-8")
    assert read_decisions(path) == {"0" * 16: "approved"}


@pytest.mark.parametrize("argv", [["export", "{}/none"], ["import", "{}", "{}/none"], ["export", "{}", "--out", "/"]])
def test_the_review_command_says_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert main([part.format(tmp_path) for part in argv]) == 1
    said = capsys.readouterr().err
    assert said.startswith("rrl-review: ") and said.count("\n") == 1


@settings(max_examples=60, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255), which=st.integers(0, 6), cut=st.booleans())
def test_a_changed_byte_in_a_saved_store_is_found(at: float, change: int, which: int, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "WHOLE_UP_TO", 0)
        store = a_store()
        add(store, a_prefix(a_problem("p"), (3, 4)))
        part = segments.Turns().state(store, threading.RLock(), 2)
        saved = checkpoint.save(Path(folder) / "step_000000", {"store": part}, {"step": 0})
        path = sorted(saved.iterdir())[which]
        data = bytearray(path.read_bytes())
        place = int(at * len(data))
        data[place] ^= change
        path.write_bytes(bytes(data[:place]) if cut else bytes(data))
        try:
            read, _ = checkpoint.load(saved)
        except ValueError as error:
            assert path.name in str(error) or path.name in ("manifest.json", "meta.json")   # a name in it was changed
        else:
            assert path.name == "manifest.json" and same(read["store"], store.state_dict())   # white space
