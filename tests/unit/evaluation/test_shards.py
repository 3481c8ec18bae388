from __future__ import annotations

import pytest

from rrl.shards import Shards, read_rows, write_json


def rows(first, last):
    return [{"line": i, "text": "\u00e9\n\ud800"} for i in range(first, last)]


def test_whatever_was_torn_the_file_goes_on_to_the_same_bytes(tmp_path):
    whole = tmp_path / "whole.jsonl"
    shards = Shards(whole, num_lines=5, shard_size=2)
    assert shards.missing() == [(0, 2), (2, 4), (4, 5)]
    for first, last in shards.missing():
        shards.append(rows(first, last))
    expected = whole.read_bytes()
    assert shards.missing() == [] and [r["line"] for r in read_rows(whole)] == [0, 1, 2, 3, 4]
    for size in range(len(expected) + 1):  # killed after any byte
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(expected[:size])
        again = Shards(torn, num_lines=5, shard_size=2)
        assert again.done == min(again.done, 5) and again.done in (0, 2, 4, 5)
        for first, last in again.missing():
            again.append(rows(first, last))
        assert torn.read_bytes() == expected


def test_a_file_of_another_job_is_refused(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text("{}\n{}\n{}\n")
    with pytest.raises(ValueError, match="has 3 lines; expected at most 2"):
        Shards(path, num_lines=2, shard_size=1)


def test_a_torn_last_line_is_left_out_and_a_damaged_one_named(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"a": 1}\n{"a":')
    assert read_rows(path) == [{"a": 1}]
    path.write_text('{"a": 1}\n[2]\n')
    with pytest.raises(ValueError, match="line 2 is not a JSON object"):
        read_rows(path)
    assert read_rows(tmp_path / "none.jsonl") == []


def test_json_is_replaced_whole(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert (tmp_path / "a.json").read_text() == '{\n  "x": 1\n}'
