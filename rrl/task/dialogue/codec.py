"""Prompts of several turns, spelled by a codec that knows turns."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.protocols import TextCodec
from rrl.scorer.conversation import turns_of
from rrl.types import Tokens


class DialogueCodec:
    """The codec itself, but that a prompt is a transcript whose turns go through its chat template."""

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self.fingerprint, self.vocab_size, self.pad = codec.fingerprint, codec.vocab_size, codec.pad
        self.stop, self.reserved = codec.stop, codec.reserved

    def prompt(self, text: str) -> Tokens:
        """Turn by turn."""
        return self._codec.conversation(text, [(turn.role, turn.text) for turn in turns_of(text)])

    def conversation(self, transcript: str, turns: Sequence[tuple[str, str]]) -> Tokens:
        return self._codec.conversation(transcript, turns)

    def encode(self, text: str) -> Tokens:
        return self._codec.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._codec.decode(tokens)
