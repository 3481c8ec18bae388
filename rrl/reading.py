"""Files that a stranger may have put there: only ordinary ones are opened, and JSON is refused in one sentence.

A link may lead out of the folder that was named, and a pipe never answers; neither is followed. Python's JSON reader
takes a key twice and dies of deep nesting; here both are errors of the file.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml


def odd_entry(folder: Path) -> str:
    """What in ``folder`` or below it is neither a file nor a folder: "state.json is a link"; "" where nothing is."""
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_symlink():
            return f"{entry.name} is a link; expected an ordinary file"
        if entry.is_dir():
            if odd := odd_entry(Path(entry.path)):
                return f"{entry.name}/{odd}"
        elif not entry.is_file():
            return f"{entry.name} is a pipe or a device; expected an ordinary file"
    return ""


def read_bytes(path: Path) -> bytes:
    """The contents of an ordinary file. Raises OSError for anything else, a link among it; never waits for a writer."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path.name} is not an ordinary file")
        return file.read()


def read_json(path: Path) -> Any:
    """The JSON in an ordinary file.

    Raises:
      OSError: it cannot be read, or is none.
      ValueError: it is not JSON, nests too deeply, or has a key twice.
    """
    return json_of(read_bytes(path), path.name, object_pairs_hook=_once)


def json_of(text: str | bytes, name: str = "it", **options: Any) -> Any:
    """``json.loads``, whose every refusal is a ValueError: of deep nesting Python's is none. name: for messages."""
    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise ValueError(f"{name} nests too deeply") from error


def yaml_of(text: str) -> Any:
    """``yaml.safe_load``, whose every refusal is a ValueError."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} stands twice in one object")
    return found
