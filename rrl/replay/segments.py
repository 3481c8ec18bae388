"""A store on disk that grows by what is new: tokens and problems are written once, numbers where they changed.

A folder holds files that are never written again and one ``manifest.json``, which names those that count, their sizes
and checksums, and is renamed into place last: a process killed at any moment leaves the state before. Three kinds:
``tokens`` (prefixes not written before), ``numbers`` (blocks of 1024 places of those columns whose checksum moved) and
``problems`` (what is asked, and answers found). Token files that are more than half evicted states are written anew,
as are the numbers once their changes outweigh them: a folder stays within about twice its store. Arrays are .npz
without pickles.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from rrl import durable
from rrl.replay.problem_file import ProblemFile, problems_from
from rrl.replay.segment_files import read_arrays, write_arrays
from rrl.replay.shelf import COLUMNS
from rrl.replay.store import Store

FORMAT = 1
BLOCK = 1024  # places; a step touches few of them, and a checksum of each is small beside its numbers
_SMALL, _MANY = 1 << 16, 64  # bytes below which a file is small; small files that are kept side by side
_PROBLEM = "of_problem."  # columns of the problem table among those of the entries
_WASTE = 2.0  # times its live part that a kind of file may take before it is written anew


class Segments:
    """One store's folder.

    Args:
        folder: made where it is not there; what it holds already is read by ``load`` alone, and the first ``save``
            without a ``load`` begins anew.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, dict[str, Any]] = {}
        self._next = 1 + max((int(p.stem.split("_")[1]) for p in folder.glob("*_*.npz")), default=0)
        self._begin()

    def _begin(self) -> None:
        self._serial = np.zeros(0, dtype=np.int64)  # of the row whose tokens were written for a place, 0 = none
        self._file, self._at = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)  # where they stand
        self._crc: dict[str, list[int]] = {}
        self._problems = ProblemFile()

    def save(self, store: Store) -> None:
        """Write what changed since the last ``save``."""
        columns = store.shelf.columns
        self._widen(len(columns.alive))
        self._write_tokens(store, np.flatnonzero(columns.alive & (self._serial != columns.serial)))
        self._drop_wasteful(store)
        self._write_numbers(store)
        self._write_problems(store)
        manifest = {"format": FORMAT, "step": store.step, "last_evicted_problem": store.last_evicted_problem,
                    "files": self._files}  # fmt: skip
        durable.write_text(self._folder / "manifest.json", json.dumps(manifest))
        for path in self._folder.glob("*_*.npz"):  # of before, or of a save that was killed
            if path.name not in self._files:
                path.unlink()

    def load(self) -> dict[str, Any]:
        """What ``Store.state_dict`` gave when this was saved.

        Raises:
            ValueError: a file is missing, cut short or changed, by its name.
        """
        try:
            return self._read(self._manifest())
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"{str(self._folder / 'manifest.json')!r} does not fit the files beside it ({error!r}); "
                             "use an earlier checkpoint") from error

    def _read(self, manifest: dict[str, Any]) -> dict[str, Any]:
        columns, tokens, problems = dict[str, np.ndarray](), dict[int, np.ndarray](), []
        for name, about in manifest["files"].items():
            arrays = read_arrays(self._folder / name, about)
            if about["kind"] == "tokens":
                tokens[about["number"]] = arrays["tokens"]
            elif about["kind"] == "problems":
                problems.append(arrays)
            else:
                _apply(columns, arrays)
        alive = np.flatnonzero(columns["alive"])
        rows = alive[np.lexsort((columns["serial"][alive], columns["problem"][alive]))]
        lengths, at, file = (columns[name][rows] for name in ("length", "at", "file"))
        ends = np.cumsum(lengths)
        flat = np.empty(int(lengths.sum()), dtype=np.int32)
        of_file = zip(file.tolist(), at.tolist(), (ends - lengths).tolist(), ends.tolist(), strict=True)
        for number, place, first, end in of_file:
            flat[first:end] = tokens[number][place : place + end - first]
        table = problems_from(problems, np.unique(columns["problem"][rows]).tolist())
        known = len(table["ids"])
        table["columns"] = {n.removeprefix(_PROBLEM): c[:known] for n, c in columns.items() if n.startswith(_PROBLEM)}
        kept = {name: columns[name][rows] for name in COLUMNS if name != "offset"}
        return {"shelf": {"tokens": flat, "columns": kept}, "problems": table, "step": manifest["step"],
                "last_evicted_problem": manifest["last_evicted_problem"]}  # fmt: skip

    def _manifest(self) -> dict[str, Any]:
        path = self._folder / "manifest.json"
        try:
            manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise ValueError(f"format {manifest['format']}; this version reads {FORMAT}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} cannot be read ({error}); expected a store's manifest") from error
        return manifest

    def _put(self, kind: str, arrays: dict[str, np.ndarray]) -> int:
        number, self._next = self._next, self._next + 1
        name = f"{kind}_{number:06d}.npz"
        self._files[name] = {"kind": kind, "number": number} | write_arrays(self._folder / name, arrays)
        return number

    def _widen(self, places: int) -> None:
        more = np.zeros(max(0, places - len(self._serial)), dtype=np.int64)
        self._serial, self._file, self._at = (np.concatenate([c, more]) for c in (self._serial, self._file, self._at))

    def _write_tokens(self, store: Store, rows: np.ndarray) -> None:
        if not len(rows):
            return
        lengths = store.shelf.columns["length"][rows]
        self._file[rows] = self._put("tokens", {"tokens": store.shelf.flat_tokens(rows)})
        self._at[rows] = np.cumsum(lengths) - lengths
        self._serial[rows] = store.shelf.columns.serial[rows]

    def _drop_wasteful(self, store: Store) -> None:
        """Forget token files without a live state; write the live ones of those that are mostly dead once more."""
        rows = np.flatnonzero(store.shelf.columns.alive)
        live = np.bincount(self._file[rows], weights=store.shelf.columns["length"][rows], minlength=self._next)
        of = {about["number"]: name for name, about in self._of("tokens").items()}
        size = {number: self._files[name]["bytes"] for number, name in of.items()}
        dead = [number for number in of if size[number] > _WASTE * 4.0 * live[number] + _SMALL or not live[number]]
        small = [number for number in of if number not in dead and live[number] * 4.0 < _SMALL]
        if len(small) > _MANY:
            dead += small
        for number in dead:
            del self._files[of[number]]
        self._write_tokens(store, rows[np.isin(self._file[rows], dead)])

    def _write_numbers(self, store: Store) -> None:
        shelf, table = store.shelf.columns, store.problems.columns
        columns = {name: shelf[name] for name in COLUMNS if name != "offset"}
        columns |= {"alive": shelf.alive, "serial": shelf.serial, "file": self._file, "at": self._at}
        columns |= {_PROBLEM + name: table[name] for name in table.names}
        mine = self._of("numbers")
        if sum(about["bytes"] for about in mine.values()) > _WASTE * sum(c.nbytes for c in columns.values()) + _SMALL:
            self._crc = {}
        changed, crc = dict[str, np.ndarray](), dict[str, list[int]]()
        for name, column in columns.items():
            known = self._crc.get(name, [])
            crc[name] = [zlib.crc32(column[i : i + BLOCK].data) for i in range(0, len(column), BLOCK)]
            blocks = [i for i, now in enumerate(crc[name]) if i >= len(known) or known[i] != now]
            if blocks:
                changed[f"{name}.blocks"] = np.array(blocks, dtype=np.int64)
                changed[f"{name}.values"] = np.concatenate([column[i * BLOCK : (i + 1) * BLOCK] for i in blocks])
        if changed:
            for name in mine if not self._crc else ():
                del self._files[name]
            self._put("numbers", changed)
        self._crc = crc

    def _write_problems(self, store: Store) -> None:
        sizes = [about["bytes"] for about in self._of("problems").values()]
        if sizes and sum(sizes) > _WASTE * sizes[0] + 4 * _SMALL:
            self._problems = ProblemFile()
            for name in self._of("problems"):
                del self._files[name]
        if news := self._problems.news(store.problems, store.shelf.problems):
            self._put("problems", news)

    def _of(self, kind: str) -> dict[str, dict[str, Any]]:
        return {name: about for name, about in self._files.items() if about["kind"] == kind}


def _apply(columns: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    """Lay blocks of changed numbers over the columns as they stood before. Only a column's last block may be short."""
    for name in sorted({key.rpartition(".")[0] for key in arrays}):
        blocks, values = arrays[f"{name}.blocks"], arrays[f"{name}.values"]
        column = columns.get(name, np.zeros(0, dtype=values.dtype))
        places = int(blocks[-1]) * BLOCK + len(values) - (len(blocks) - 1) * BLOCK
        if places > len(column):
            column = np.concatenate([column, np.zeros(places - len(column), dtype=values.dtype)])
        for i, block in enumerate(blocks.tolist()):
            some = values[i * BLOCK : (i + 1) * BLOCK]
            column[block * BLOCK : block * BLOCK + len(some)] = some
        columns[name] = column
