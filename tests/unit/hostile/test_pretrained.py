"""Model folders of strangers: their code does not run unless it is asked for; whatever their files say is one line."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrl.codec.tokenizer import load_tokenizer
from rrl.policy.sources import HubModel
from rrl.scorer.classifier import SequenceClassifier
from tests.child import Ended, in_child
from tests.text import chat_llama
from tests.unit.policy.small import Digits

MEMORY = 1 << 30
CODE = '''
import pathlib
pathlib.Path({marker!r}).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM

class StrangeConfig(LlamaConfig):
    model_type = "strange"

class StrangeModel(LlamaForCausalLM):
    config_class = StrangeConfig
'''


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chat_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def load(folder: Path | str, trust: bool = False) -> Any:
    source = HubModel(task=Digits(), model=str(folder), revision="main", gguf_file=None, trust_remote_code=trust,
                      dtype="float32", attn_implementation="sdpa")
    return source.load()[0]


def rewrite(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def strange(folder: Path, marker: Path) -> None:
    """A model of a type that transformers does not know, with the code that does, which leaves a mark."""
    (folder / "strange.py").write_text(CODE.format(marker=str(marker)))
    rewrite(folder / "config.json", model_type="strange", architectures=["StrangeModel"], auto_map={
        "AutoConfig": "strange.StrangeConfig", "AutoModelForCausalLM": "strange.StrangeModel"})   # fmt: skip


# ------------------------------------------------------------------------------------------ whose code runs


def test_code_in_a_models_folder_does_not_run_and_the_key_is_named(folder: Path, tmp_path: Path) -> None:
    strange(folder, tmp_path / "ran")
    with pytest.raises(ValueError, match=r"policy.model is .*Python files.*policy.trust_remote_code=true"):
        load(folder)
    with pytest.raises(ValueError, match=r"value.model is .*value.trust_remote_code=true"):
        SequenceClassifier(key="value", model=str(folder), revision="main", trust_remote_code=False, good_label=0,
                           dtype="float32", device="cpu", rows_per_batch=1)
    assert not (tmp_path / "ran").exists()


def test_it_runs_where_it_is_asked_for_and_that_is_said_aloud(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    strange(folder, tmp_path / "ran")

    def trusting() -> None:   # in a child: what it imports stays there
        caplog.set_level(logging.WARNING)
        load(folder, trust=True)
        assert any("policy.trust_remote_code=true: Python files that come with" in m for m in caplog.messages)

    assert in_child(trusting, more_bytes=MEMORY, seconds=60) == Ended("", "")
    assert (tmp_path / "ran").read_text() == "ran"


def test_a_tokenizers_code_does_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "own.py").write_text(CODE.format(marker=str(tmp_path / "ran")))
    rewrite(folder / "tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Own", None]})
    with pytest.raises(ValueError, match=r"codec.name is .*codec.trust_remote_code=true"):
        load_tokenizer(str(folder), "main", None, trust_remote_code=False, key="codec.name")
    with pytest.raises(ValueError, match="--tokenizer is .*, --trust-remote-code"):
        load_tokenizer(str(folder), "main", None, trust_remote_code=False, key="--tokenizer")
    assert not (tmp_path / "ran").exists()


def test_a_known_models_own_code_is_passed_over(folder: Path, tmp_path: Path) -> None:
    (folder / "strange.py").write_text(CODE.format(marker=str(tmp_path / "ran")))
    rewrite(folder / "config.json", auto_map={"AutoModelForCausalLM": "strange.StrangeModel"})
    load(folder)
    assert not (tmp_path / "ran").exists()


# ------------------------------------------------------------------------------------------ what files say


def safe(header: dict[str, Any] | bytes, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + b"\0" * 64


def put(name: str, data: bytes | str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode()) and None


def sized(**changed: Any) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / "config.json", **changed)


HOSTILE: dict[str, Callable[[Path], None]] = {
    "no config": lambda f: (f / "config.json").unlink(),
    "an empty config": put("config.json", ""),
    "a config that is a list": put("config.json", "[]"),
    "a config nested deep": put("config.json", "[" * 100_000),
    "a config of bytes": put("config.json", b"\xff\xfe\x00"),
    "a million layers": sized(num_hidden_layers=10**6),
    "more layers than weights": sized(num_hidden_layers=99_999),
    "a width of 10^9": sized(hidden_size=10**9, intermediate_size=10**9),
    "a width of 10^30": sized(hidden_size=10**30),
    "a vocabulary of 2^31": sized(vocab_size=2**31),
    "a vocabulary of 10^9": sized(vocab_size=10**9, hidden_size=4096),
    "no heads": sized(num_attention_heads=0),
    "heads below zero": sized(num_attention_heads=-1),
    "a width as text": sized(hidden_size="16"),
    "a width that is NaN": sized(hidden_size=float("nan")),
    "a model of no kind": sized(model_type="none such"),
    "a model that is a number": sized(model_type=7),
    "an encoder": sized(model_type="t5", architectures=["T5Model"]),
    "an activation that is none": sized(hidden_act="os.system"),
    "another shape": sized(hidden_size=32, head_dim=16),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "empty weights": put("model.safetensors", b""),
    "weights with a header of 2^63 bytes": put("model.safetensors", safe(b"{}", length=2**63 - 1)),
    "weights with a header that is no JSON": put("model.safetensors", safe(b"[" * 50_000)),
    "weights that end before they begin": put("model.safetensors", safe(
        {"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 64]}})),
    "weights of no type": put("model.safetensors", safe({"x": {"dtype": "PY", "shape": [1], "data_offsets": [0, 64]}})),
    "weights of another model": put("model.safetensors", safe(
        {"x": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}})),
    "weights that are a pickle": lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin") and None,
    "an index that leads out": lambda f: (f / "model.safetensors").unlink() or put(
        "model.safetensors.index.json", '{"metadata": {}, "weight_map": {"x": "../../../../etc/passwd"}}')(f),
    "no tokenizer": lambda f: (f / "tokenizer.json").unlink(),
    "an empty tokenizer": put("tokenizer.json", ""),
    "a tokenizer of another kind": put("tokenizer.json", '{"model": {"type": "Evil"}}'),
    "a tokenizer that is a list": put("tokenizer.json", "[]"),
    "a tokenizer nested deep": put("tokenizer.json", "[" * 100_000),
    "settings of the tokenizer that are a list": put("tokenizer_config.json", "[1]"),
}   # fmt: skip


def refused(folder: Path) -> Ended:
    return in_child(lambda: load(folder), more_bytes=MEMORY, seconds=60)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_is_one_line(folder: Path, name: str) -> None:
    HOSTILE[name](folder)
    ended = refused(folder)
    assert ended.kind in ("ValueError", "TooLarge"), ended
    assert "\n" not in ended.said and len(ended.said) < 900
    assert "policy.model" in ended.said or "hidden_size" in ended.said, ended.said


@pytest.mark.parametrize("place", ["{}/none", "no-such-owner/no-such-model", "", "a b", "../..", "x" * 5000, "https://x"])
def test_what_cannot_be_had_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)   # a name is looked up in the cache alone
    with pytest.raises(ValueError, match="^policy.model is ") as caught:
        load(place.format(tmp_path))
    assert "\n" not in str(caught.value)


VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4) | st.lists(
    st.integers(), max_size=2) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)   # fmt: skip


def any_config(whole: Path, tmp: Path, data: st.DataObject) -> None:
    folder = tmp / "model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    config = json.loads((folder / "config.json").read_text())
    for key in data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=3)):
        config[key] = data.draw(VALUES)
    (folder / "config.json").write_text(json.dumps(config))
    ended = refused(folder)
    assert ended.kind in ("", "ValueError", "TooLarge"), (ended, config)
    assert "\n" not in ended.said


@settings(max_examples=12)
@given(data=st.data())
def test_any_config_is_loaded_or_one_line(whole: Path, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    any_config(whole, tmp_path_factory.mktemp("any"), data)


@pytest.mark.slow
@settings(max_examples=600)
@given(data=st.data())
def test_many_configs_are_loaded_or_one_line(whole: Path, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    any_config(whole, tmp_path_factory.mktemp("any"), data)


@pytest.mark.slow
@settings(max_examples=600)
@given(data=st.data(), name=st.sampled_from(["model.safetensors", "tokenizer.json", "tokenizer_config.json"]))
def test_any_bytes_of_a_folder_are_loaded_or_one_line(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: Any, name: str
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path_factory.mktemp("any") / "model"))
    now = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        now[data.draw(st.integers(0, min(len(now) - 1, 4000)))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(now[: data.draw(st.sampled_from([len(now), len(now) // 2]))])
    ended = refused(folder)
    assert ended.kind in ("", "ValueError", "TooLarge"), ended
    assert "\n" not in ended.said
