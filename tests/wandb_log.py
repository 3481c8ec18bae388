"""What a W&B run wrote, read back from its own transaction log.

wandb offers no reader. The file is a LevelDB log behind a header of 7 bytes: blocks of 32768 bytes, in them chunks
<crc32 u32, length u16, type u8, bytes> with types 1 whole, 2 first, 3 middle, 4 last; a record is a protobuf message.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK, _HEADER, _CHUNK = 32768, 7, struct.Struct("<IHB")


@dataclass(kw_only=True)
class Written:
    """config and summary by key; run: the record of the run itself; axes: metric -> its step_metric; history: one dict
    a row; artifacts: (name, type, aliases, paths in it)."""

    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    run: Any = None
    axes: dict[str, str] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[tuple[str, str, list[str], list[str]]] = field(default_factory=list)
    ended: bool = False


def read_back(path: Path) -> Written:
    """Everything of one ``run-<id>.wandb`` of a run that ended. W&B's own process may still be writing its last
    records when ``finish`` has come back, so this waits for the one that says how the run ended."""
    for _ in range(200):
        if (found := _read(path)).ended:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{path} does not say that the run ended; it holds {len(found.history)} history rows")


def _read(path: Path) -> Written:
    from wandb.proto import wandb_internal_pb2 as pb

    found = Written()
    for raw in _records(path.read_bytes()):
        record = pb.Record.FromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = record.run
            found.config |= _items(record.run.config.update)
        elif kind == "config":
            found.config |= _items(record.config.update)
        elif kind == "summary":
            found.summary |= _items(record.summary.update)
        elif kind == "metric":
            found.axes[record.metric.name] = record.metric.step_metric
        elif kind == "history":
            found.history.append(_items(record.history.item))
        elif kind == "artifact":
            made = record.artifact
            contents = [entry.path for entry in made.manifest.contents]
            found.artifacts.append((made.name, made.type, sorted(made.aliases), contents))
        elif kind == "exit":
            found.ended = True
    return found


def _items(items: Any) -> dict[str, Any]:
    """["a", "b"] = 1 -> {"a": {"b": 1}}."""
    found: dict[str, Any] = {}
    for item in items:
        *above, key = list(item.nested_key) or [item.key]
        node = found
        for name in above:
            node = node.setdefault(name, {})
        node[key] = json.loads(item.value_json)
    return found


def _records(data: bytes) -> Iterator[bytes]:
    at, parts = _HEADER, b""
    while at + _CHUNK.size <= len(data):
        if _BLOCK - at % _BLOCK < _CHUNK.size:   # a chunk's head is never split over two blocks
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        parts += data[at : at + length]
        at += length
        if kind in (1, 4):
            yield parts
            parts = b""
