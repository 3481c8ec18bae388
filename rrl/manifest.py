"""What must stand in a folder: size and SHA-256 of every file, so that a damaged one is known by its name.

``manifest.json`` is written last and holds a digest of itself; it says nothing of what the files mean.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rrl import durable, reading

NAME = "manifest.json"


def seal(folder: Path) -> None:
    """Write the manifest of the files that stand in ``folder``."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": durable.sha256(path)}
        for path in sorted(folder.iterdir()) if path.name != NAME
    }
    (folder / NAME).write_text(json.dumps({"files": files, "sha256": _digest(files)}, indent=2))


def damage(folder: Path) -> str:
    """The first damaged file of a sealed folder and what is wrong with it; "" where all is as it was written.

    Example: "state.json has 512 bytes; 2,048 were written".
    """
    try:
        if odd := reading.odd_entry(folder):
            return odd
        manifest = reading.read_json(folder / NAME)
        files, digest = manifest["files"], manifest["sha256"]
        if digest != _digest(files):
            return f"{NAME} is not as it was written (its own SHA-256 differs)"
        if away := [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]:
            return f"{NAME} names {away[0]!r}, which is not in the folder"
        return next((flaw for name in files if (flaw := _flaw(folder / name, files[name]))), "")
    except FileNotFoundError:
        return f"{NAME} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{NAME} cannot be read ({' '.join(str(error).split())[:80]})"


def _flaw(path: Path, written: dict[str, Any]) -> str:
    if not path.is_file():
        return f"{path.name} is missing"
    if (size := path.stat().st_size) != written["bytes"]:
        return f"{path.name} has {size:,} bytes; {written['bytes']:,} were written"
    if durable.sha256(path) != written["sha256"]:
        return f"{path.name} is not as it was written (SHA-256 differs)"
    return ""


def _digest(files: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
