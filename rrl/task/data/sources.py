"""Records from files, from the package and from the hub, each with the place it stands at.

A source is a path (``.jsonl``, ``.json`` with one list, ``.parquet``), ``pkg://rrl.task.samples/name.jsonl`` for a file
that a package ships, or ``hub://owner/name[@revision]?config=main&split=train`` for a data set on the hub (or, in place
of owner/name, a folder that ``datasets`` can load; ``data_dir=`` names a folder of the data set).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

HUB, PACKAGE = "hub://", "pkg://"

Record = tuple[str, dict[str, Any] | str]
"""(where, content), or (where, why it cannot be read)."""


def records(source: str, key: str) -> Iterator[Record]:
    """All records of ``source`` in order.

    Args:
      source: see the module.
      key: config key that named it, for error messages.
    Raises:
      ValueError: the whole source cannot be read: no such file, no network, another format.
    """
    if source.startswith(HUB):
        yield from _hub(source, key)
    elif source.startswith(PACKAGE):
        package, _, name = source.removeprefix(PACKAGE).partition("/")
        try:
            with as_file(files(package) / name) as path:
                yield from _file(path, source, key)
        except ModuleNotFoundError as error:
            raise ValueError(f"{key} has {source!r}: there is no package {package!r}") from error
    else:
        yield from _file(Path(source), source, key)


def _file(path: Path, shown: str, key: str) -> Iterator[Record]:
    if not path.is_file():
        raise ValueError(
            f"{key} has {shown!r}, which is not a file; expected a .jsonl, .json or .parquet file, "
            "pkg://<package>/<file> or hub://<owner>/<name>?split=<split>"
        )
    readers = {".jsonl": _json_lines, ".json": _json_list, ".parquet": _parquet}
    if path.suffix not in readers:
        raise ValueError(f"{key} has {shown!r}; expected a name that ends in one of: {', '.join(readers)}")
    yield from readers[path.suffix](path, shown, key)


def _json_lines(path: Path, shown: str, key: str) -> Iterator[Record]:
    del key  # a line is bad by itself
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{shown}:{number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
            yield where, f"is not JSON ({_why(error)})"
            continue
        yield where, _object(content)


def _json_list(path: Path, shown: str, key: str) -> Iterator[Record]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{key} has {shown!r}, which is not JSON ({_why(error)})") from error
    if not isinstance(content, list):
        raise ValueError(f"{key} has {shown!r}, which holds a {type(content).__name__}; expected a list of objects")
    for number, item in enumerate(content, start=1):
        yield f"{shown}:item {number}", _object(item)


def _parquet(path: Path, shown: str, key: str) -> Iterator[Record]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ValueError(
            f"{key} has {shown!r}; Parquet needs pyarrow: pip install 'rrl[tasks]', or give .jsonl"
        ) from error
    try:
        number = 0
        for batch in ParquetFile(path).iter_batches():
            for content in batch.to_pylist():
                number += 1
                yield f"{shown}:row {number}", content
    except (ArrowException, OSError, ValueError) as error:  # OSError: cut; ValueError: text that is none
        raise ValueError(f"{key} has {shown!r}, which is not a Parquet file ({_line(error)})") from error


def _hub(source: str, key: str) -> Iterator[Record]:
    name, config, revision, split, data_dir = parse_hub(source, key)
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(
            f"{key} has {source!r}; data sets of the hub need the package datasets: pip install 'rrl[tasks]'"
        ) from error
    local = f"without a network give local files: {key}=[<file>.jsonl], or HF_HUB_OFFLINE=1 for a cached copy"
    try:
        loaded = load_dataset(name, config, data_dir=data_dir, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError) as error:  # offline, unknown, gated, a script
        raise ValueError(f"{key} has {source!r}, which cannot be loaded ({_line(error)}); {local}") from error
    for number, content in enumerate(loaded, start=1):
        yield f"{source}:row {number}", content


def parse_hub(source: str, key: str) -> tuple[str, str | None, str | None, str, str | None]:
    """(name, config, revision, split, folder). hub://a/b@1?config=c&split=train -> ("a/b", "c", "1", "train", None)."""
    place, _, query = source.removeprefix(HUB).partition("?")
    name, _, revision = place.partition("@")
    given = parse_qs(query)
    if not name or set(given) - {"config", "split", "data_dir"} or "split" not in given:
        raise ValueError(f"{key} has {source!r}; expected hub://<owner>/<name>[@revision]?config=<config>&split=<split>")
    config, data_dir = (given.get(field, [None])[0] for field in ("config", "data_dir"))
    return name, config, revision or None, given["split"][0], data_dir


def _object(content: Any) -> dict[str, Any] | str:
    return content if isinstance(content, dict) else f"is a {type(content).__name__}, not an object"


def _why(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
