"""What must stand in a folder: size and SHA-256 of every file, so that a damaged one is known by its name.

``manifest.json`` is written last and holds a digest of itself; it says nothing of what the files mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rrl import durable, reading

NAME = "manifest.json"

Files = Mapping[str, Mapping[str, Any]]
"""name -> bytes and sha256."""


def seal(folder: Path, known: Files | None = None) -> None:
    """Write the manifest of the files that stand in ``folder``.

    Args:
        known: what another manifest says of some of them, which are not read again: where they were damaged since,
            it is noticed against what was written, not sealed.
    """
    files = {
        path.name: known[path.name] if known and path.name in known
        else {"bytes": path.stat().st_size, "sha256": durable.sha256(path)}
        for path in sorted(folder.iterdir()) if path.name != NAME
    }  # fmt: skip
    (folder / NAME).write_text(json.dumps({"files": files, "sha256": _digest(files)}, indent=2))


def damage(folder: Path) -> str:
    """The first damaged file of a sealed folder and what is wrong with it; "" where all is as it was written.

    Example: "state.json has 512 bytes; 2,048 were written".
    """
    try:
        if odd := reading.odd_entry(folder):
            return odd
        files = _files(folder)
        if files is None:
            return f"{NAME} is not as it was written (its own SHA-256 differs)"
        if away := [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]:
            return f"{NAME} names {away[0]!r}, which is not in the folder"
        return next((flaw for name in files if (flaw := _flaw(folder / name, files[name]))), "")
    except FileNotFoundError:
        return f"{NAME} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{NAME} cannot be read ({' '.join(str(error).split())[:80]})"


def whole_files(folder: Path) -> Files:
    """What the manifest says of those files that are there in their size; their contents are not read."""
    try:
        files = _files(folder) or {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: about for name, about in files.items() if _size(folder / name) == about["bytes"]}


def _files(folder: Path) -> Files | None:
    """None where they are not what was written. Raises whatever comes of a file that holds something else."""
    manifest = reading.read_json(folder / NAME)
    files: Files = manifest["files"]
    return files if manifest["sha256"] == _digest(files) else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _flaw(path: Path, written: Mapping[str, Any]) -> str:
    if not path.is_file():
        return f"{path.name} is missing"
    if (size := path.stat().st_size) != written["bytes"]:
        return f"{path.name} has {size:,} bytes; {written['bytes']:,} were written"
    if durable.sha256(path) != written["sha256"]:
        return f"{path.name} is not as it was written (SHA-256 differs)"
    return ""


def _digest(files: Files) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
