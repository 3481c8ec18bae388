from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rrl.replay import export
from rrl.replay.export import write_parquet
from rrl.replay.store import Store
from tests.unit.replay.builders import Toy, a_prefix, a_problem, a_store, add, row_of

P = a_problem("p", answer="7", max_response=20)


def held() -> Store:
    store = a_store()
    add(store, a_prefix(P, (3, -5, 6), step=-2, value=0.25, depth_frac=0.4), done=0.1)
    add(store, a_prefix(P, (9,), step=4), quarantined=True)
    add(store, a_prefix(a_problem("q", max_response=20), (8, 8), step=5, origin="canonical"))
    store.step = 7
    store.shelf.columns["sleep_until"][row_of(store, a_problem("q"), (8, 8))] = 9
    store.problems.columns["root_success"][0] = 0.125
    return store


def test_every_entry_is_read_back_with_its_schema(tmp_path: Path) -> None:
    store, path = held(), tmp_path / "store.parquet"
    assert write_parquet(store, path, Toy().decode) == 3
    table = pq.read_table(path)
    assert table.schema.remove_metadata().equals(export.schema())
    assert table.schema.metadata[b"rrl_format"] == b"1" and table.schema.metadata[b"rrl_step"] == b"7"
    first, second, third = table.to_pylist()
    expected = {
        "key": a_prefix(P, (3, -5, 6)).key, "problem": "p", "task": "toy", "difficulty": "hard", "answer": "7",
        "prompt_tokens": [1, 2], "tokens": [3, 4, 6], "given": [False, True, False], "prompt": "1 2",
        "prefix": "3 4 6", "origin": "rollout", "status": "open", "born_step": -2, "depth": 2, "depth_frac": 0.4,
        "born_value": 0.25, "value": 0.25, "born_frac": 0.1, "raw_tries": 0, "root_success": 0.125,
    }
    assert {name: first[name] for name in expected} == expected
    assert (second["status"], second["tokens"]) == ("quarantine", [9])
    assert (third["status"], third["origin"], third["given"]) == ("asleep", "canonical", [False, False])
    assert [row["status"] for row in table.to_pylist()] == [row["status"] for row in store.rows()]


def test_groups_of_rows_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_ROWS_AT_ONCE", 2)
    store, whole = held(), tmp_path / "whole.parquet"
    write_parquet(store, whole, None)
    table = pq.read_table(whole)
    assert pq.ParquetFile(whole).num_row_groups == 2 and table.num_rows == 3
    assert [tuple(r["tokens"]) for r in table.to_pylist()] == [(3, 4, 6), (9,), (8, 8)]
    assert table["prefix"].null_count == 3


def test_an_empty_store_is_an_empty_table_and_a_bad_path_is_refused(tmp_path: Path) -> None:
    assert write_parquet(a_store(), tmp_path / "none.parquet", None) == 0
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
    with pytest.raises(ValueError, match=r"nowhere/x.parquet' cannot be written"):
        write_parquet(held(), tmp_path / "nowhere" / "x.parquet", None)


@pytest.mark.skipif(importlib.util.find_spec("duckdb") is None, reason="duckdb is not installed")
def test_duckdb_asks_the_file(tmp_path: Path) -> None:
    import duckdb

    write_parquet(held(), tmp_path / "store.parquet", None)
    asked = "select problem, count(*), avg(value), sum(len(tokens)) from read_parquet(?) group by 1 order by 1"
    found = duckdb.execute(asked, [str(tmp_path / "store.parquet")]).fetchall()
    assert [(p, n, int(t)) for p, n, _, t in found] == [("p", 2, 4), ("q", 1, 2)]
    np.testing.assert_allclose([v for *_, v, _ in found], [0.375, 0.5])
