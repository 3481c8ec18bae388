"""Our own parsers as functions of bytes, for a fuzzer that follows branches. A ValueError of one line is an answer;
anything else that a target raises is a finding."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from rrl.annotations import fit
from rrl.cli import check_choices
from rrl.gguf_file import check_gguf
from rrl.hosts.trajectories import read
from rrl.manifest import damage
from rrl.reading import read_json
from rrl.stored import check_meta, from_plain, from_yaml
from rrl.targets import check_target
from rrl.task.code.extract import code_of, statement_ends
from rrl.task.grade.arithmetic import checked
from rrl.task.grade.marks import BOXED, Marks, last_boxed
from rrl.task.grade.number import number

HERE = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


class Bytes:
    """A codec that needs no tokenizer."""

    stop = (256,)

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(text.encode())

    def conversation(self, transcript: str, turns: object) -> tuple[int, ...]:
        return self.encode(transcript)


def put(name: str, data: bytes) -> Path:
    (HERE / name).write_bytes(data)
    return HERE / name


def gguf(data: bytes) -> None:
    check_gguf(put("x.gguf", b"GGUF\x03\x00\x00\x00" + data), "policy.gguf_file")


def rows(data: bytes) -> None:
    list(read([put("rows.jsonl", data)], Bytes()))   # type: ignore[arg-type]


def checkpoint_json(data: bytes) -> None:
    meta = read_json(put("meta.json", data))
    if isinstance(meta, dict):
        check_meta(meta, "x")
        from_plain(meta.get("config"), "x")


def manifest(data: bytes) -> None:
    folder = HERE / "sealed"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(data)
    assert "\n" not in damage(folder)


def config_yaml(data: bytes) -> None:
    from_yaml(put("config.yaml", data))


def override(data: bytes) -> None:
    text = data.decode("utf-8", "ignore")
    check_choices([text])
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    check_target(value, "key")
    for hint in (int, float, str, bool, list[int], dict[str, float], int | None):
        fit(value, hint, "key")


def answers(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    marks = Marks([BOXED, "####", "Answer:", "<answer>"])
    marks.first(text), marks.last(text), last_boxed(text), number(text), code_of(text), statement_ends(text)


def arithmetic(data: bytes) -> None:
    checked(data.decode("utf-8", "replace"))


TARGETS: dict[str, Callable[[bytes], None]] = {
    f.__name__: f for f in (gguf, rows, checkpoint_json, manifest, config_yaml, override, answers, arithmetic)
}   # fmt: skip


def one(target: str, data: bytes) -> None:
    """Give ``data`` to a target. Raises AssertionError for a ValueError of many lines; others pass."""
    try:
        TARGETS[target](data)
    except ValueError as error:
        assert "\n" not in str(error) or target == "answers", str(error)
