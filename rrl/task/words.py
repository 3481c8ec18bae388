"""A vocabulary of plain words: token ids to readable text and back."""

from __future__ import annotations

from collections.abc import Sequence

from rrl.types import Tokens

BAR = "|"
"""Stands between prompt and response in decoded text; it is no token."""


class Words:
    """One word per token id. ("PAD", "H", "s0"): (1, 2) <-> "H s0"."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._ids = {word: i for i, word in enumerate(self._words)}
        assert len(self._ids) == len(self._words), "words must be distinct"

    def __len__(self) -> int:
        return len(self._words)

    def decode(self, tokens: Sequence[int], prompt_length: int) -> str:
        """Words with spaces between; a bar after the first ``prompt_length`` where more follow."""
        if bad := [t for t in tokens if not 0 <= t < len(self._words)]:
            raise ValueError(f"token ids {bad[:4]} are not in the vocabulary; expected 0..{len(self._words) - 1}")
        spelled = [self._words[t] for t in tokens]
        if 0 < prompt_length < len(spelled):
            spelled.insert(prompt_length, BAR)
        return " ".join(spelled)

    def encode(self, text: str) -> Tokens:
        """The inverse of ``decode``. Raises ValueError for an unknown word."""
        spelled = [word for word in text.split() if word != BAR]
        if bad := [word for word in spelled if word not in self._ids]:
            raise ValueError(f"words {bad[:4]} are not in the vocabulary; expected words such as {self._words[1:4]}")
        return tuple(self._ids[word] for word in spelled)
