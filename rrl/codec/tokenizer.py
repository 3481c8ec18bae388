"""A transformers tokenizer as plain functions between text and ids."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rrl.pretrained import load
from rrl.starts import Tokens


class TokenizerCodec:
    """Ids are exact: no special token is added, none is dropped, no space is tidied away.

    Args:
      tokenizer: of transformers, fast or slow.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        # Padding is never attended to nor predicted, so any id serves where a tokenizer names none.
        self.pad = int(pad) if pad is not None else 0
        self.vocab_size = len(tokenizer)
        self.fingerprint = _digest(tokenizer)

    def encode(self, text: str) -> Tokens:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def save(self, folder: Path) -> None:
        """Write it as transformers loads it, chat template included."""
        self._tokenizer.save_pretrained(folder)


@functools.lru_cache(maxsize=4)  # a task and its policy ask for the same one; from a GGUF file it takes seconds
def load_tokenizer(name: str, revision: str, gguf_file: str | None, *, trust_remote_code: bool, key: str) -> Any:
    """The tokenizer of a model on the hub or in a folder, or the one inside a GGUF file there. Not to be changed.

    See ``rrl.pretrained.load``, also for what it raises.
    """
    from transformers import AutoTokenizer

    return load(
        AutoTokenizer, name, key=key, revision=revision, trust_remote_code=trust_remote_code, gguf_file=gguf_file
    )


def _digest(tokenizer: Any) -> str:
    """Changes when some text gets other ids: the whole machine where it can be written out, else the vocabulary."""
    machine = getattr(tokenizer, "backend_tokenizer", None)
    if machine is not None:
        described = json.loads(machine.to_str())
        described.update(truncation=None, padding=None)  # states of a call, not of the mapping
    else:
        described = [type(tokenizer).__name__, tokenizer.get_vocab()]
    return hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=8).hexdigest()
