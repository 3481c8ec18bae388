"""A tokenizer with one word an id, saved where transformers loads it from."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def words(size: int = 64, *, shift: int = 0) -> Any:
    """Words <0>, <1>, ...; with a ``shift`` the same words have other ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(WordLevel({f"<{i}>": (i + shift) % size for i in range(size)}, unk_token="<3>"))
    raw.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<0>", eos_token="<4>", unk_token="<3>")


def saved_tokenizer(folder: Path, **kind: Any) -> Path:
    words(**kind).save_pretrained(folder)
    return folder
