"""Reward models and harm classifiers: a number for a response, read with or without its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from rrl.codec.tokenizer import load_tokenizer
from rrl.scorer.classifier import SequenceClassifier
from rrl.scorer.conversation import Exchange, messages_of, transcript_of


class PreferenceModel:
    """A ``SequenceClassifier`` that reads exchanges as it was trained to read them.

    Args:
      reads: "chat" = through the model's own chat template; "transcript" = as one text, in the form of HH-RLHF (see
        ``conversation``); "response" = the response alone, as toxicity classifiers do.
      others: see ``SequenceClassifier``.
    Raises:
      ValueError: the model cannot be loaded, or has no chat template and is to read through one.
    """

    def __init__(
        self, *, model: str, revision: str, trust_remote_code: bool,
        reads: Literal["chat", "transcript", "response"], good_label: int, dtype: str, device: str, rows_per_batch: int,
    ) -> None:
        self._classify = SequenceClassifier(
            key="scorer", model=model, revision=revision, trust_remote_code=trust_remote_code, good_label=good_label,
            dtype=dtype, device=device, rows_per_batch=rows_per_batch,
        )  # fmt: skip
        self._tokenizer: Any = load_tokenizer(
            model, revision, None, trust_remote_code=trust_remote_code, key="scorer.model"
        )
        if reads == "chat" and self._tokenizer.chat_template is None:
            raise ValueError(f"scorer.reads is chat, and the tokenizer of {model!r} has no chat template; expected "
                             "transcript or response")
        self._reads = reads

    def __call__(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """[S] scores, in float64, higher = more of what the model was trained to find."""
        return self._classify([self._ids(exchange) for exchange in exchanges])

    def _ids(self, exchange: Exchange) -> list[int]:
        if self._reads == "chat":  # the template writes the special tokens itself
            rendered = self._tokenizer.apply_chat_template(messages_of(exchange), tokenize=False)
            return list(self._tokenizer.encode(rendered, add_special_tokens=False))
        text = transcript_of(exchange) if self._reads == "transcript" else exchange.response
        ids = list(self._tokenizer.encode(text))
        return ids or list(self._tokenizer.encode(" "))  # an empty response is still something to score
