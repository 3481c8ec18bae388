"""One token a byte: a text codec with no tokenizer and nothing to download, for small models and for tests."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rrl.starts import Tokens

PAD, END, ANSWER = 256, 257, 258
SPECIALS = {"<|pad|>": PAD, "<|end|>": END, "<|answer|>": ANSWER}

_NAMES = {token: name for name, token in SPECIALS.items()}
_NAME = re.compile("|".join(re.escape(name) for name in SPECIALS))


class ByteCodec:
    """UTF-8 bytes are tokens 0..255; a prompt ends with ``<|answer|>``, a response with ``<|end|>``.

    Example: prompt "2+2" -> (50, 43, 50, 258); its response "4" -> (52, 257).
    """

    fingerprint = "bytes-1"
    vocab_size = 256 + len(SPECIALS)
    pad = PAD
    stop: Tokens = (END,)
    reserved = tuple(SPECIALS)

    def __init__(self) -> None:
        pass

    def prompt(self, text: str) -> Tokens:
        """The bytes of ``text``, then the sign that the answer begins."""
        return (*text.encode(), ANSWER)

    def conversation(self, transcript: str, turns: Sequence[tuple[str, str]]) -> Tokens:
        """The transcript as it is: bytes have no template."""
        del turns
        return self.prompt(transcript)

    def encode(self, text: str) -> Tokens:
        """Bytes; the names of the special tokens become these."""
        found: list[int] = []
        place = 0
        for match in _NAME.finditer(text):
            found += [*text[place : match.start()].encode(), SPECIALS[match[0]]]
            place = match.end()
        return (*found, *text[place:].encode())

    def decode(self, tokens: Sequence[int]) -> str:
        """Text; bytes that are no UTF-8 become U+FFFD."""
        if bad := [t for t in tokens if not 0 <= t < self.vocab_size]:
            raise ValueError(f"token ids {bad[:4]} are not bytes; expected 0..{self.vocab_size - 1}")
        spelled: list[str] = []
        run = bytearray()
        for token in tokens:
            if token < 256:
                run.append(token)
                continue
            spelled += [run.decode(errors="replace"), _NAMES[token]]
            run.clear()
        return "".join([*spelled, run.decode(errors="replace")])
