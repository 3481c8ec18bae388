"""A store as one Parquet file, for pandas, DuckDB and whoever reads it in ten years. Never read back by training.

| column | type | what |
|---|---|---|
| key | string | 16 hex digits: names problem and tokens, holds across runs |
| problem, task, difficulty, answer | string | of the problem |
| prompt_tokens, tokens | list<int32> | ids as a network reads them, what was given included |
| given | list<bool> | which of ``tokens`` the environment said, not the policy |
| prompt, prefix | string | the same as text, null where nobody can spell them |
| origin | string | rollout, replay or canonical |
| status | string | open, asleep, parked or quarantine, at ``step`` |
| parent | string | key of the start that it was cut from |
| born_step, score_step, last_used | int64 | steps; negative ones are of the warm-up |
| depth | int64 | sampled tokens |
| depth_frac, born_frac | double | share of its response, share of the token budget when stored |
| born_value, value, value_std | double | P(solved) when stored, when last scored, and its standard deviation |
| td | double | surprise on the last way from it |
| tries, conversions | double | decayed outcomes |
| raw_tries, raw_conversions, fails_in_a_row, naps | int64 | counts |
| parent_reward | double | score of the attempt that it was cut from |
| root_success, root_value | double | of its bare problem |

The file's metadata holds ``rrl_format``, ``rrl_step`` and ``rrl_entries``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rrl.records import ORIGINS
from rrl.replay.eviction import QUARANTINE
from rrl.replay.store import Store

FORMAT = 1
INTEGERS = ("born_step", "score_step", "last_used", "depth", "raw_tries", "raw_conversions", "fails_in_a_row", "naps")
REALS = ("depth_frac", "born_frac", "born_value", "value", "value_std", "td", "tries", "conversions", "parent_reward")
_ROWS_AT_ONCE = 10_000  # a row group: tokens of so many entries stand in memory as Arrow besides the store


def write_parquet(store: Store, path: Path, decode: Callable[[Sequence[int]], str] | None) -> int:
    """Write every entry, by problem and age; returns how many. The file appears whole or not at all.

    Args:
        path: file to write.
        decode: token ids -> text; None leaves the text columns null.

    Raises:
        ValueError: pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise ValueError("a store as Parquet needs pyarrow: pip install 'rrl[store]'") from error
    rows = store.shelf.all_rows()
    about = {"rrl_format": str(FORMAT), "rrl_step": str(store.step), "rrl_entries": str(len(rows))}
    beside = path.with_name(path.name + ".tmp")
    try:
        with ParquetWriter(beside, schema().with_metadata(about), compression="zstd") as writer:
            for first in range(0, len(rows), _ROWS_AT_ONCE):
                some = _columns(store, rows[first : first + _ROWS_AT_ONCE], decode)
                writer.write_table(pa.table(some, schema=schema()))
        os.replace(beside, path)
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be written ({error}); expected a file in a folder with room") from error
    return len(rows)


def schema() -> Any:
    """Columns and types, as the module says."""
    import pyarrow as pa

    text, ids = pa.string(), pa.list_(pa.int32())
    return pa.schema([
        ("key", text), ("problem", text), ("task", text), ("difficulty", text), ("answer", text),
        ("prompt_tokens", ids), ("tokens", ids), ("given", pa.list_(pa.bool_())), ("prompt", text), ("prefix", text),
        ("origin", text), ("status", text), ("parent", text), *((name, pa.int64()) for name in INTEGERS),
        *((name, pa.float64()) for name in REALS), ("root_success", pa.float64()), ("root_value", pa.float64()),
    ])  # fmt: skip


def _columns(store: Store, rows: np.ndarray, decode: Callable[[Sequence[int]], str] | None) -> dict[str, Any]:
    import pyarrow as pa

    c, p = store.shelf.columns, store.problems.columns
    numbers = c["problem"][rows]
    problems = [store.problems.problem(number) for number in numbers.tolist()]
    flat, lengths = store.shelf.flat_tokens(rows), c["length"][rows]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = np.where(flat < 0, -1 - flat, flat).astype(np.int32)
    said = np.split(ids, ends[1:-1])
    awake = c["sleep_until"][rows] < store.step
    status = np.select(
        [c["status"][rows] == QUARANTINE, p["parked"][numbers], ~awake], ["quarantine", "parked", "asleep"], "open"
    )
    return {
        "key": [f"{key:016x}" for key in c["key"][rows].tolist()], "problem": [q.id for q in problems],
        "task": [q.task for q in problems], "difficulty": [q.difficulty for q in problems],
        "answer": [q.answer for q in problems], "prompt_tokens": [q.prompt for q in problems],
        "tokens": pa.ListArray.from_arrays(ends, ids), "given": pa.ListArray.from_arrays(ends, flat < 0),
        "prompt": [decode(q.prompt) if decode else None for q in problems],
        "prefix": [decode(tuple(tokens.tolist())) if decode else None for tokens in said],
        "origin": [ORIGINS[origin] for origin in c["origin"][rows].tolist()], "status": status.tolist(),
        "parent": [f"{key:016x}" for key in c["parent"][rows].tolist()], **{n: c[n][rows] for n in (*INTEGERS, *REALS)},
        "root_success": p["root_success"][numbers], "root_value": p["root_value"][numbers],
    }  # fmt: skip
