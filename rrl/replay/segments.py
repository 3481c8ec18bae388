"""A large store in checkpoints: each holds all files that it needs, and shares those that did not change with others.

Files are written once and never again. A checkpoint that is written links those of an earlier one that still count
(hard links: a folder by itself is whole, whatever becomes of the others), and adds what is new: tokens of prefixes not
written before, blocks of numbers in which something changed, problems and answers found. Files that are mostly evicted
states, or small and many, are written anew, so a folder stays within about twice its store and some dozens of files.
Two lines of files take turns: a checkpoint shares none with the one before it, so that one flipped bit damages one of
the two. Which files count stands in the checkpoint's state, their digests in its manifest.
"""

from __future__ import annotations

import logging
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from rrl import durable, manifest
from rrl.replay.number_files import NumberFiles
from rrl.replay.problem_files import ProblemFiles
from rrl.replay.segment_files import write_arrays
from rrl.replay.shelf import COLUMNS
from rrl.replay.store import Store
from rrl.replay.token_files import TokenFiles

log = logging.getLogger(__name__)

WHOLE_UP_TO = 1 << 24
"""Bytes up to which a store is written whole, as tensors of the checkpoint: .1 s, and no checkpoint shares anything."""

KINDS = ("tokens", "numbers", "problems")
PROBLEM = "of_problem."
"""Beginning of the names of the problem table's columns among those of the entries."""


class Line:
    """The files of every other checkpoint of one store, from the first save or a failed one on."""

    def __init__(self) -> None:
        self._source: Path | None = None  # the checkpoint that was written last
        self._begin()

    def _begin(self) -> None:
        self._name, self._count, self._places = uuid.uuid4().hex[:8], 0, 0  # names of two lines never meet
        self._tokens, self._numbers, self._problems = TokenFiles(), NumberFiles(), ProblemFiles()

    def write(self, store: Store, beside: Path, folder: Path) -> tuple[dict[str, Any], manifest.Files]:
        """Write what is new and link what still counts.

        Args:
            beside: folder that is being written.  folder: what it is called when it is whole.

        Returns:
            What ``segment_state.read`` has to know, and what the manifest says of the files that were linked.
        """
        source, self._source = self._source, None  # whatever fails below: the next save begins anew
        known = manifest.whole_files(source) if source is not None else {}
        lost = {name for files in self._index().values() for name in files} - known.keys()
        if source is None or lost:
            if source is not None and source.is_dir():
                log.warning("%s no longer holds %s as it was written; the store is written anew", source, min(lost))
            self._begin()

        def put(kind: str, arrays: dict[str, np.ndarray]) -> int:
            self._count += 1
            write_arrays(beside / self._file(kind, self._count), arrays)
            return self._count

        columns, table = store.shelf.columns, store.problems
        self._places = max(self._places, int(np.flatnonzero(columns.alive)[-1]) + 1)  # none has to be cut again
        self._tokens.write(store.shelf, put)
        numbers = {name: columns[name] for name in COLUMNS if name != "offset"}
        numbers |= {"alive": columns.alive, "serial": columns.serial, "file": self._tokens.file, "at": self._tokens.at}
        numbers = {name: column[: self._places] for name, column in numbers.items()}
        numbers |= {PROBLEM + name: table.columns[name][: len(table)] for name in table.columns.names}
        self._numbers.write(numbers, put)
        self._problems.write(table, store.shelf.problems, put)
        index = self._index()
        linked = [name for files in index.values() for name in files if not (beside / name).exists()]
        self._source = folder
        about = {"step": store.step, "last_evicted_problem": store.last_evicted_problem}
        return index | about, _link(linked, source, beside, known)

    def _index(self) -> dict[str, dict[str, int]]:
        """Names and numbers of the files that count, in the order of writing."""
        of = dict(zip(KINDS, (self._tokens.sizes, self._numbers.sizes, self._problems.pile.sizes), strict=True))
        return {kind: {self._file(kind, number): number for number in sorted(sizes)} for kind, sizes in of.items()}

    def _file(self, kind: str, number: int) -> str:
        return f"store_{self._name}_{number:06d}_{kind}.safetensors"


class Part:
    """Stands for a store in the state of a checkpoint, and writes itself there. Good until the store is changed."""

    def __init__(self, store: Store, line: Line, lock: threading.RLock) -> None:
        self._store, self._line, self._lock = store, line, lock
        self._written: tuple[Path, dict[str, Any]] | None = None

    def write(self, beside: Path, folder: Path) -> tuple[dict[str, Any], manifest.Files]:
        """As ``Line.write``; a second time, for another checkpoint, links everything from the first."""
        if self._written is None:
            with self._lock:
                index, linked = self._line.write(self._store, beside, folder)
            self._written = folder, index
            return index, linked
        source, index = self._written
        names = [name for kind in KINDS for name in index[kind]]
        return index, _link(names, source, beside, manifest.whole_files(source))


def _link(names: list[str], source: Path | None, beside: Path, known: manifest.Files) -> manifest.Files:
    """Share files of ``source``; returns what is known of them."""
    for name in names:
        assert source is not None
        durable.share(source / name, beside / name)
    return {name: known[name] for name in names}


class Turns:
    """Who writes a store next."""

    def __init__(self) -> None:
        self._lines, self._count = (Line(), Line()), 0

    def state(self, store: Store, lock: threading.RLock, kept: int) -> Any:
        """What stands for the store in the state of a checkpoint: everything where it is small, else a ``Part``.

        Args:
            kept: checkpoints that stand side by side. Where it is 1 there is none before to be kept apart from;
                0 = for no checkpoint: everything.
        """
        if not kept or not len(store) or store.shelf.num_bytes <= WHOLE_UP_TO:
            return store.state_dict()
        self._count += 1
        return Part(store, self._lines[self._count % min(kept, 2)], lock)
