"""Reads a store back from the files of a checkpoint, as ``Store.state_dict`` gave it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rrl.replay.number_files import lay_over
from rrl.replay.problem_files import problems_from
from rrl.replay.segment_files import read_arrays
from rrl.replay.segments import PROBLEM
from rrl.replay.shelf import COLUMNS


def read(folder: Path, index: dict[str, Any]) -> dict[str, Any]:
    """The store's state.

    Args:
        folder: a checkpoint whose files are as its manifest says.
        index: what ``Line.write`` returned.

    Raises:
        ValueError: rows are told to stand in files that the index does not name.
    """
    columns = dict[str, np.ndarray]()
    for name in index["numbers"]:
        lay_over(columns, read_arrays(folder / name))
    alive, age = np.flatnonzero(columns.pop("alive")), columns.pop("serial")
    rows = alive[np.lexsort((age[alive], columns["problem"][alive]))]
    file, at = columns.pop("file")[rows], columns.pop("at")[rows]
    of_problems = {name.removeprefix(PROBLEM): columns.pop(name) for name in list(columns) if name.startswith(PROBLEM)}
    kept = {name: columns.pop(name)[rows] for name in COLUMNS if name != "offset"}
    tokens = _tokens(folder, index["tokens"], file, at.astype(np.int64), kept["length"].astype(np.int64))
    problems = problems_from([read_arrays(folder / name) for name in index["problems"]],
                             np.unique(kept["problem"]).tolist())
    return {"shelf": {"tokens": tokens, "columns": kept}, "problems": problems | {"columns": of_problems},
            "step": index["step"], "last_evicted_problem": index["last_evicted_problem"]}  # fmt: skip


def _tokens(
    folder: Path, files: dict[str, int], file: np.ndarray, at: np.ndarray, length: np.ndarray
) -> np.ndarray:
    """Rows end to end: one file at a time, neighbours in both places in one move."""
    to = np.cumsum(length) - length
    flat = np.empty(int(length.sum()), dtype=np.int32)
    if missing := set(np.unique(file).tolist()) - set(files.values()):
        raise ValueError(f"{int(np.isin(file, list(missing)).sum())} states stand in files that it does not name")
    for name, number in files.items():
        tokens, rows = read_arrays(folder / name)["tokens"], np.flatnonzero(file == number)
        ends = at[rows] + length[rows]
        begins = np.flatnonzero(np.append(True, (at[rows][1:] != ends[:-1]) | (np.diff(rows) != 1)))
        stretches = zip(at[rows[begins]].tolist(), ends[np.append(begins[1:], len(rows)) - 1].tolist(),
                        to[rows[begins]].tolist(), strict=True)  # fmt: skip
        for first, last, place in stretches:
            flat[place : place + last - first] = tokens[first:last]
    return flat
