"""Up to which step W&B has a run, read from its own transaction files, and the records behind that.

W&B's process writes those files, some steps behind ours: after a kill they end earlier than what we had handed over.
wandb offers no reader. A file is a LevelDB log behind a header of 7 bytes: blocks of 32,768 bytes, in them chunks
<crc32 u32, length u16, type u8, bytes> with types 1 whole, 2 first, 3 middle, 4 last; a record is a protobuf message.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEADER, _CHUNK = 32768, 7, struct.Struct("<IHB")
_WHOLE, _LAST = 1, 4


def last_step(folder: Path, run_id: str, name: str, *, own: Path, server: object, handed_over: int) -> int | None:
    """The last step that W&B has of a run: of its files that wait for ``wandb sync``, and of what its server knows.

    Args:
      folder: the run's.
      name: of the metric that is the step.
      own: W&B's folder of this process, which has told nothing yet.
      server: its last value there; anything but a number where there is no server, or no such run.
      handed_over: the last step that it was given: what it has where neither a file nor the server tells.
    Returns:
      None where W&B has no step of it.
    """
    steps = [int(server)] if isinstance(server, (int, float)) else []
    paths = [p for p in folder.glob(f"wandb/offline-run-*-{run_id}/run-{run_id}.wandb") if p.parent != own]
    for path in paths:
        steps += [int(row[name]) for row in history_in(path.read_bytes()) if name in row]
    return max(steps, default=None if paths else handed_over)


def records_between(path: Path, after: int | None, last: int, name: str) -> list[dict[str, Any]]:
    """Records of steps after < s <= last in a metrics.jsonl, in order; after None: from its first one on."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    told = [record for record in map(json.loads, lines) if record[name] <= last]
    return [record for record in told if after is None or after < record[name]]


def history_in(data: bytes) -> Iterator[dict[str, Any]]:
    """The history rows of a transaction file, as far as it was written; nested names stay nested."""
    from wandb.proto import wandb_internal_pb2

    kind: Any = wandb_internal_pb2  # its messages are made at run time
    for raw in records_in(data):
        record = kind.Record.FromString(raw)
        if record.WhichOneof("record_type") == "history":
            yield items_of(record.history.item)


def records_in(data: bytes) -> Iterator[bytes]:
    """The whole records of a transaction file; one that a kill tore apart is left out."""
    at, parts = _HEADER, b""
    while at + _CHUNK.size <= len(data):
        if _BLOCK - at % _BLOCK < _CHUNK.size:  # a chunk's head is never split over two blocks
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if at + length > len(data):
            return
        parts += data[at : at + length]
        at += length
        if kind in (_WHOLE, _LAST):
            yield parts
            parts = b""


def items_of(items: Any) -> dict[str, Any]:
    """["a", "b"] = 1 -> {"a": {"b": 1}}."""
    found: dict[str, Any] = {}
    for item in items:
        *above, key = list(item.nested_key) or [item.key]
        node = found
        for name in above:
            node = node.setdefault(name, {})
        node[key] = json.loads(item.value_json)
    return found
