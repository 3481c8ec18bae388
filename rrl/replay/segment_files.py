"""Files of a segmented store: arrays as .npz without pickles, written once, with size and checksum."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, int]:
    """Write and flush to disk; returns what the manifest says of the file: its bytes and checksum."""
    with open(path, "wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]  # any name but allow_pickle is an array's
        handle.flush()
        os.fsync(handle.fileno())
    data = path.read_bytes()
    return {"bytes": len(data), "crc": zlib.crc32(data)}


def read_arrays(path: Path, about: dict[str, Any]) -> dict[str, np.ndarray]:
    """Read back. Raises ValueError, by the file's name, where it is not what was written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read ({error.strerror}); the store's manifest names it") from error
    if len(data) != about["bytes"] or zlib.crc32(data) != about["crc"]:
        raise ValueError(f"{str(path)!r} is damaged: {len(data)} bytes with another checksum than the manifest's; "
                         f"expected {about['bytes']} bytes; use an earlier checkpoint")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} holds no arrays ({error}); use an earlier checkpoint") from error


def as_bytes(plain: Any) -> np.ndarray:
    """JSON as an array of bytes."""
    return np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)


def from_bytes(array: np.ndarray) -> Any:
    """The inverse of ``as_bytes``."""
    return json.loads(array.tobytes())
