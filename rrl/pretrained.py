"""Models and tokenizers of transformers, from the hub, a folder or a GGUF file: loaded here and nowhere else.

Two things are decided here. Whose code runs: a folder may bring Python files (``auto_map`` in its config.json), which
are imported only where ``trust_remote_code`` says so beside the model's name, and then it is said aloud. And what a
stranger's file may do: whatever transformers raises over one is a sentence with file and key; what would be made too
large by a few bytes of JSON or of a GGUF header is refused before anything is made.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from rrl.capacity import check_room
from rrl.gguf_file import check_gguf
from rrl.reading import json_of

log = logging.getLogger(__name__)

_MOST_COUNTED = 100_000
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")  # each is made before a weight is read
_COUNTED = ("num_attention_heads", "num_key_value_heads", "num_experts", "num_local_experts", "n_routed_experts")
_MOST_SHOWN = 400  # characters of other people's messages


def load(
    auto: Any, name: str, *, key: str, revision: str, trust_remote_code: bool, gguf_file: str | None, **options: Any
) -> Any:
    """``auto.from_pretrained``.

    Args:
      auto: one of transformers' Auto classes.
      name: on the hub, or a folder.
      key: of the config (or an argument) that holds the name, for messages; its neighbours are named after it.
      revision: on the hub.
      trust_remote_code: import Python files that come with it.
      gguf_file: in it, to be read instead; None = none.
      options: others of transformers.
    Raises:
      ValueError: it cannot be had, is damaged, or brings code that is not trusted; one line.
    """
    trusting = "--trust-remote-code" if key.startswith("--") else f"{key.rpartition('.')[0]}.trust_remote_code=true"
    if trust_remote_code:
        log.warning("%s: Python files that come with %s@%s run on this machine, as you and without any wall",
                    trusting, name, revision)
    extra = {} if gguf_file is None else {"gguf_file": gguf_file}
    try:
        if gguf_file is not None:
            check_gguf(_gguf_path(name, gguf_file, revision), f"{key.rpartition('.')[0]}.gguf_file".lstrip("."))
        elif Path(name).is_dir():
            _check_folder(Path(name))
        return auto.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code, **extra, **options)
    except _Refused as refused:
        raise ValueError(f"{key} is {name!r}, {refused}") from refused
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if not trust_remote_code and "trust_remote_code" in said:
            raise ValueError(f"{key} is {name!r}, which cannot be loaded without running Python files that "
                             "come with it; expected a model that transformers knows by itself, or, if you trust "
                             f"whoever made this one, {trusting}") from error
        raise ValueError(f"{key} is {name!r}, which cannot be loaded as {auto.__name__} "
                         f"({said[:_MOST_SHOWN]}); expected a model's name on the hub, within reach, or a folder that "
                         "save_pretrained wrote") from error


def _gguf_path(name: str, gguf_file: str, revision: str) -> Path:
    """Where the file lies: in the folder, or in the hub's cache."""
    from transformers.utils.hub import cached_file

    if Path(gguf_file).is_absolute() or ".." in Path(gguf_file).parts:
        raise _Refused(f"and its gguf_file {gguf_file!r}; expected the name of a file in it")
    return Path(name) / gguf_file if Path(name).exists() else Path(str(cached_file(name, gguf_file, revision=revision)))


def _check_folder(folder: Path) -> None:
    """A folder that says by a few bytes that it holds what no folder holds. A tokenizer's may lack any of the files,
    and transformers names what is missing."""
    path, weights = folder / "config.json", folder / "model.safetensors"
    try:
        config = json_of(path.read_bytes()) if path.is_file() else {}
        if not isinstance(config, dict):
            raise ValueError(f"a {type(config).__name__}, not an object")
    except (OSError, ValueError) as error:
        raise _Refused(f"whose config.json cannot be read ({error}); expected save_pretrained's") from error
    num_tensors = _MOST_COUNTED
    if weights.is_file():
        with safe_open(weights, framework="pt") as file:  # reads the names alone
            num_tensors = len(file.keys())
    for part in (config, *(child for child in config.values() if isinstance(child, dict))):
        _check_sizes(part, num_tensors)


def _check_sizes(config: Mapping[str, Any], num_tensors: int) -> None:
    numbers = {name: value for name, value in config.items() if type(value) is int}
    for name, value in numbers.items():
        most = num_tensors if name in _LAYERS else _MOST_COUNTED if name in _COUNTED else 2**31 - 1
        if abs(value) > most:
            raise _Refused(f"whose config.json has {name} {value:,}; expected at most {most:,}, and a model's config")
    width, layers = numbers.get("hidden_size", 0), numbers.get("num_hidden_layers", 1)
    weights = width * (numbers.get("vocab_size", 0) + layers * min(width, numbers.get("intermediate_size", 0)))
    check_room(2.0 * weights, "its model", numbers)  # two bytes a weight at the least


class _Refused(Exception):
    """Why a folder is not even tried, as the rest of a sentence about it."""
