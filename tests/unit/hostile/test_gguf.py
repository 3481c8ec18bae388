"""GGUF files that nobody meant: one line with file and config key; no hang, no crash, no memory by what a file says."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl.gguf_file import check_gguf
from rrl.policy.sources import HubModel
from tests.child import in_child
from tests.gguf_file import write_gguf
from tests.unit.policy.small import Digits

KEY = "policy.gguf_file"
MEMORY = 1 << 30   # address space, not memory: libraries that are loaded late take some


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("gguf")).read_bytes()


def load(folder: Path) -> None:
    HubModel(task=Digits(), model=str(folder), revision="main", gguf_file="tiny.gguf", trust_remote_code=False,
             dtype="float32", attn_implementation="sdpa").load()


def said(data: bytes) -> str:
    """"" where the check lets a file pass, else its one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        path.write_bytes(data)
        try:
            check_gguf(path, KEY)
        except ValueError as error:
            assert str(path) in str(error) and KEY in str(error) and "\n" not in str(error) and len(str(error)) < 600
            return str(error)
    return ""


def survives(data: bytes) -> None:
    """What passes the check is loaded, or refused in one line, by a process that lives on."""
    if said(data):
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tiny.gguf").write_bytes(data)
        ended = in_child(lambda: load(Path(folder)), more_bytes=MEMORY, seconds=60)
        assert ended.kind in ("", "ValueError", "TooLarge"), ended
        assert "\n" not in ended.said and (not ended.said or folder in ended.said), ended
        assert "MemoryError" not in ended.said, ended   # that is what the check is there to spare us


# ------------------------------------------------------------------------------------------ a header by hand


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def pair(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def number(value: int) -> bytes:
    return struct.pack("<I", value)


FACTS = {
    "general.architecture": (8, text("llama")), "llama.block_count": (4, number(1)),
    "llama.embedding_length": (4, number(4)), "llama.attention.head_count": (4, number(2)),
    "tokenizer.ggml.tokens": (9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
}   # fmt: skip


def made(
    *, magic: bytes = b"GGUF", version: int = 3, num_tensors: int | None = None, num_pairs: int | None = None,
    tensors: tuple[bytes, ...] = (tensor("token_embd.weight", (4, 2)),), data: int = 32, **changed: tuple[int, bytes],
) -> bytes:
    facts = FACTS | {name.replace("__", "."): value for name, value in changed.items()}
    pairs = [pair(name, *value) for name, value in facts.items()]
    head = magic + struct.pack("<IQQ", version, len(tensors) if num_tensors is None else num_tensors,
                               len(pairs) if num_pairs is None else num_pairs)
    body = head + b"".join(pairs) + b"".join(tensors)
    return body + b"\0" * (-len(body) % 32 + data)


def test_the_header_by_hand_is_sane() -> None:
    assert said(made()) == ""


def twice() -> bytes:
    """The key of another pair made that of the layers."""
    return made(llama__expert_count=(4, number(0))).replace(b"llama.expert_count", b"llama.block_count\0").replace(
        struct.pack("<Q", 18) + b"llama.block_count\0", struct.pack("<Q", 17) + b"llama.block_count")


HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "four bytes": lambda: b"GGUF",
    "another magic": lambda: made(magic=b"GGML"),
    "version 1": lambda: made(version=1),
    "version 2^31": lambda: made(version=1 << 31),
    "the other byte order": lambda: b"GGUF" + struct.pack(">IQQ", 3, 1, 5) + made()[24:],
    "2^60 tensors": lambda: made(num_tensors=1 << 60),
    "2^60 pairs": lambda: made(num_pairs=1 << 60),
    "one tensor more": lambda: made(num_tensors=2),
    "a text of 2^63 bytes": lambda: made(general__name=(8, struct.pack("<Q", 1 << 63))),
    "an array of 2^61 numbers": lambda: made(x=(9, struct.pack("<IQ", 10, 1 << 61))),
    "an array of 2^60 texts": lambda: made(x=(9, struct.pack("<IQ", 8, 1 << 60))),
    "an array of arrays": lambda: made(x=(9, struct.pack("<IQIQ", 9, 1, 9, 1))),
    "a value of type 99": lambda: made(x=(99, number(0))),
    "a name that is no text": lambda: made().replace(b"llama.block_count", b"llama.\xff\xfeock_count"),
    "a key twice": twice,
    "1,000 dimensions": lambda: made(tensors=(text("t") + number(1000) + b"\0" * 40,)),
    "no dimensions": lambda: made(tensors=(text("t") + number(0) + struct.pack("<IQ", 0, 0),)),
    "dimensions whose product overflows": lambda: made(tensors=(tensor("t", (1 << 33, 1 << 33)),)),
    "a side of 0": lambda: made(tensors=(tensor("t", (0, 4)),)),
    "a type that is none": lambda: made(tensors=(tensor("t", (4, 2), kind=77),)),
    "half a block of 4 bits": lambda: made(tensors=(tensor("t", (4, 2), kind=2),)),
    "an offset behind the end": lambda: made(tensors=(tensor("t", (4, 2), offset=1 << 40),)),
    "an offset that wraps around": lambda: made(tensors=(tensor("t", (4, 2), offset=(1 << 64) - 32),)),
    "an odd offset": lambda: made(tensors=(tensor("t", (4, 1), offset=3),)),
    "a tensor twice": lambda: made(tensors=(tensor("t", (4, 1)), tensor("t", (4, 1)))),
    "alignment 0": lambda: made(general__alignment=(4, number(0))),
    "alignment 3": lambda: made(general__alignment=(4, number(3))),
    "alignment as text": lambda: made(general__alignment=(8, text("32"))),
    "alignment 2^31": lambda: made(general__alignment=(4, number(1 << 31))),
    "an architecture that is a number": lambda: made(general__architecture=(4, number(1))),
    "another architecture's sizes": lambda: made(general__architecture=(8, text("qwen2"))),
    "2^31 - 1 layers": lambda: made(llama__block_count=(4, number((1 << 31) - 1))),
    "no layers": lambda: made(llama__block_count=(4, number(0))),
    "layers as text": lambda: made(llama__block_count=(8, text("1"))),
    "layers that are not a number": lambda: made(llama__block_count=(6, struct.pack("<f", float("nan")))),
    "a width that no tensor has": lambda: made(llama__embedding_length=(4, number(1 << 20))),
    "more heads than width": lambda: made(llama__attention__head_count=(4, number(1 << 20))),
    "a context of 2^40": lambda: made(llama__context_length=(10, struct.pack("<Q", 1 << 40))),
    "more tokens than rows": lambda: made(tokenizer__ggml__tokens=(9, struct.pack("<IQ", 8, 3) + text("a") * 3)),
    "tokens that are a number": lambda: made(tokenizer__ggml__tokens=(4, number(2))),
    "tokens that are one text": lambda: made(tokenizer__ggml__tokens=(8, text("ab"))),
}   # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_by_file_and_key(name: str) -> None:
    assert said(HOSTILE[name]())


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    odd = ((tmp_path, "is a folder"), (tmp_path / "none", "does not exist"), (Path("/dev/zero"), "is no file"))
    for path, what in odd:
        with pytest.raises(ValueError, match=f"{what}; expected a whole GGUF file .* as {KEY}"):
            check_gguf(path, KEY)


def test_every_cut_is_refused(whole: bytes) -> None:
    for at in [*range(0, 800, 11), *range(800, len(whole) - 64, 1999)]:   # the last tensor's padding may go
        assert said(whole[:at]), at


def test_announcements_cost_no_memory(whole: bytes) -> None:
    hostile = [HOSTILE[name]() for name in HOSTILE if "2^" in name]
    tracemalloc.start()
    try:
        for data in hostile:
            said(data)
        said(whole)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(whole)
    finally:
        tracemalloc.stop()


@settings(max_examples=400)
@given(data=st.data())
def test_any_change_of_bytes_passes_or_is_one_line(whole: bytes, data: st.DataObject) -> None:
    said(changed(whole, data))


def changed(whole: bytes, data: st.DataObject) -> bytes:
    """Some bytes, or eight at once, replaced; most of them in the header, where they count."""
    now = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        end = data.draw(st.sampled_from([700, 12_000, len(whole)]))   # numbers, tokens and tensors, data
        at = data.draw(st.integers(0, end - 9))
        new = data.draw(st.binary(min_size=1, max_size=4) | st.sampled_from(
            [b"\xff" * 8, b"\0" * 8, b"\0" * 7 + b"\x80", b"\xff" * 7 + b"\x7f"]))
        now[at : at + len(new)] = new
    return bytes(now)


def test_the_file_itself_loads_and_is_refused_without_a_tensor(whole: bytes) -> None:
    survives(whole)
    assert said(whole) == ""
    other = whole.replace(b"blk.1.ffn_down", b"blk.9.ffn_down")   # sane, and not what the model needs
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tiny.gguf").write_bytes(other)
        ended = in_child(lambda: load(Path(folder)), more_bytes=MEMORY, seconds=60)
    assert ended.kind == "ValueError" and "lacks the weights ['model.layers.1.mlp.down_proj.weight']" in ended.said


@settings(max_examples=20)
@given(data=st.data())
def test_what_passes_is_loaded_or_one_line(whole: bytes, data: st.DataObject) -> None:
    survives(changed(whole, data))


@pytest.mark.slow
@settings(max_examples=1500)
@given(data=st.data())
def test_much_that_passes_is_loaded_or_one_line(whole: bytes, data: st.DataObject) -> None:
    survives(changed(whole, data))
