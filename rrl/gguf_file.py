"""Is a file whole and sane GGUF? Asked before transformers' reader sees it, which trusts every count and offset.

Layout (little-endian; the "GGUF" page of ggml's docs): magic, version u32, number of tensors u64, number of key-value
pairs u64; pairs (key, type u32, value); tensors (name, number of dimensions u32, dimensions u64 each, type u32, offset
u64); padding to ``general.alignment``; data. A string is a u64 length and UTF-8. Nothing is allocated by what the file
says before the file has been seen to hold it, and sizes in its metadata have to be sizes of its tensors.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAGIC, VERSIONS = b"GGUF", (2, 3)
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4  # GGML_MAX_DIMS
_SIZES = ("embedding_length", "feed_forward_length")  # of which some tensor has to have a side
_COUNTS = ("block_count", "expert_count")  # of which each has tensors of its own
_TOKENS = "tokenizer.ggml.tokens"
_NEEDED = ("block_count", "embedding_length", "attention.head_count")


class _Reader:
    """A place in a file, which moves on; every read is within it, or a ValueError."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self.at = data, 0

    def number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return self._take(self.number("<Q")).decode("utf-8")  # an error of it is a ValueError

    def count(self, least_bytes: int, what: str) -> int:
        """A number of things that take ``least_bytes`` each, which must be there."""
        num: int = self.number("<Q")
        if num * least_bytes > len(self._data) - self.at:
            raise ValueError(f"it announces {num:,} {what} in {len(self._data) - self.at:,} bytes")
        return num

    def value(self, kind: int) -> Any:
        """A scalar, a text, or of an array its length and first element."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise ValueError(f"a value has type {kind}; expected 0..12")
        inner = self.number("<I")
        if inner in _SCALARS:
            size = struct.calcsize(_SCALARS[inner])
            num = self.count(size, "numbers of an array")
            self._take(num * size)
            return [num]
        if inner != _STRING:
            raise ValueError(f"an array holds type {inner}; expected numbers or texts")
        num = self.count(8, "texts of an array")
        for _ in range(num):
            self.text()
        return [num]

    def _take(self, num: int) -> bytes:
        if num > len(self._data) - self.at:
            raise ValueError(f"it ends at byte {len(self._data):,}, where {num:,} bytes more are announced at "
                             f"{self.at:,}")
        self.at += num
        return self._data[self.at - num : self.at]


def check_gguf(path: Path, key: str) -> None:
    """Raise ValueError, naming file and config key, where ``path`` is not whole and sane GGUF.

    Args:
      key: of the config that names the file.
    """
    expected = f"expected a whole GGUF file of version 2 or 3, as {key}"
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no file" if path.exists() else "does not exist"
        raise ValueError(f"{str(path)!r} {what}; {expected}")
    try:
        with open(path, "rb") as file:
            if file.read(4) != MAGIC:
                raise ValueError(f"it does not begin with {MAGIC.decode()}")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _check(_Reader(data), len(data))
    except (ValueError, OSError, struct.error) as error:
        raise ValueError(f"{str(path)!r} is damaged, or is no GGUF file: {error}; {expected}") from error


def _check(reader: _Reader, size: int) -> None:
    reader.at = 4
    if (version := reader.number("<I")) not in VERSIONS:
        raise ValueError(f"its version is {version}")
    num_tensors = reader.count(1, "tensors")
    num_pairs = reader.count(13, "key-value pairs")  # a text, a type and a byte
    facts: dict[str, Any] = {}
    for _ in range(num_pairs):
        name = reader.text()
        if name in facts:
            raise ValueError(f"its key {name[:60]!r} stands there twice")
        facts[name] = reader.value(reader.number("<I"))
    tensors = dict[str, tuple[tuple[int, ...], int, int]]()
    for _ in range(num_tensors):
        name, tensor = reader.text(), _tensor(reader)
        if name in tensors:
            raise ValueError(f"its tensor {name[:60]!r} stands there twice")
        tensors[name] = tensor
    alignment = facts.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 8 or alignment & (alignment - 1) or alignment > size:
        raise ValueError(f"its general.alignment is {alignment!r}; expected a power of two from 8 on")
    begin = reader.at + -reader.at % alignment
    for name, (_, offset, num_bytes) in tensors.items():
        if offset % alignment or begin + offset + num_bytes > size:
            raise ValueError(f"its tensor {name[:60]!r} has {num_bytes:,} bytes at {begin + offset:,}, of {size:,}")
    _check_facts(facts, {name: shape for name, (shape, _, _) in tensors.items()})


def _tensor(reader: _Reader) -> tuple[tuple[int, ...], int, int]:
    """(shape, offset, bytes)."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    num = reader.number("<I")
    if not 1 <= num <= _MOST_DIMENSIONS:
        raise ValueError(f"a tensor has {num:,} dimensions; expected 1..{_MOST_DIMENSIONS}")
    shape = tuple(reader.number("<Q") for _ in range(num))
    kind = reader.number("<I")
    if kind not in set(GGMLQuantizationType):
        raise ValueError(f"a tensor has type {kind}, which this version of the package gguf does not know")
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    if min(shape) < 1 or shape[0] % block:
        raise ValueError(f"a tensor has shape {shape}; expected sides of at least 1, the first a multiple of {block}")
    return shape, reader.number("<Q"), math.prod(shape) // block * block_bytes


def _check_facts(facts: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A model is made as large as its metadata says before a tensor is read: these have to agree."""
    name = facts.get("general.architecture")
    if not isinstance(name, str):
        raise ValueError("it has no general.architecture")
    sides = {side for shape in shapes.values() for side in shape}
    own = {key.removeprefix(f"{name}."): value for key, value in facts.items() if key.startswith(f"{name}.")}
    if missing := [key for key in _NEEDED if key not in own]:
        raise ValueError(f"it has no {name}.{missing[0]}")
    for key, value in own.items():
        if isinstance(value, int) and not isinstance(value, bool) and not -(2**31) <= value < 2**31:
            raise ValueError(f"its {name}.{key} is {value:,}")
        if key in _NEEDED and not (isinstance(value, list) or type(value) is int and value >= 1):
            raise ValueError(f"its {name}.{key} is {value!r}; expected an integer >= 1")
        if key in _SIZES and isinstance(value, int) and value not in sides:
            raise ValueError(f"its {name}.{key} is {value:,}, and no tensor has such a side")
        if key in _COUNTS and isinstance(value, int) and value > len(shapes):
            raise ValueError(f"its {name}.{key} is {value:,}, and it has {len(shapes):,} tensors")
    heads = own["attention.head_count"]
    if isinstance(heads, int) and isinstance(own["embedding_length"], int) and heads > own["embedding_length"]:
        raise ValueError(f"its {name}.attention.head_count is {heads:,}; expected at most the embedding_length")
    tokens = facts.get(_TOKENS)
    if not isinstance(tokens, list) or tokens[0] not in sides:
        raise ValueError(f"its {_TOKENS} is {str(tokens)[:60]}; expected as many texts as a tensor has rows")
