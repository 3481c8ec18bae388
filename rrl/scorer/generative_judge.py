"""A language model that is asked to grade, and answers with one token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rrl.codec.tokenizer import load_tokenizer
from rrl.pretrained import load
from rrl.scorer.classifier import DTYPES
from rrl.scorer.conversation import Exchange

_SLOTS = ("{conversation}", "{response}")


class GenerativeJudge:
    """Score = sum_k rating_k p_k / sum_k p_k over the answers k that were allowed, p from the next token's log-probs.

    The expected rating of Liu et al. (G-Eval), 2303.16634, eq. 1; with yes = 1 and no = 0 it is P(True) of Kadavath et
    al., 2207.05221. Nothing is sampled: one forward pass an exchange, and no answer can fail to parse.

    Args:
      model, revision: causal language model on the hub or in a folder.  trust_remote_code: see ``rrl.pretrained.load``.
      prompt: what it is asked, with {conversation} and {response}; its chat template goes around it where it has one.
      answers: text -> rating; each has to be one token for the model, and two of them different ones.
      dtype, device, rows_per_batch: as of a ``SequenceClassifier``.
    Raises:
      ValueError: the prompt has not both slots, or an answer is not one token of its own.
    """

    def __init__(
        self, *, model: str, revision: str, trust_remote_code: bool, prompt: str, answers: dict[str, float], dtype: str,
        device: str, rows_per_batch: int,
    ) -> None:
        from transformers import AutoModelForCausalLM

        if missing := [slot for slot in _SLOTS if slot not in prompt]:
            raise ValueError(f"scorer.prompt lacks {missing[0]}; expected a text with {' and '.join(_SLOTS)}")
        if dtype not in DTYPES or rows_per_batch < 1:
            raise ValueError(f"scorer.dtype is {dtype!r}, scorer.rows_per_batch {rows_per_batch}; expected one of "
                             f"{', '.join(DTYPES)}, and >= 1")
        self._tokenizer: Any = load_tokenizer(
            model, revision, None, trust_remote_code=trust_remote_code, key="scorer.model"
        )
        self._prompt, self._rows_per_batch = prompt, rows_per_batch
        self._answers = [self._token(text) for text in answers]
        if len(set(self._answers)) < max(2, len(answers)):
            raise ValueError(f"scorer.answers is {answers}; expected at least two, each a token of its own")
        self._ratings = np.array(list(answers.values()))
        where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        loaded = load(
            AutoModelForCausalLM, model, key="scorer.model", revision=revision, gguf_file=None,
            trust_remote_code=trust_remote_code, dtype=getattr(torch, dtype),
        )
        self._model = loaded.to(where).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, exchanges: Sequence[Exchange]) -> np.ndarray:
        """[S] expected ratings, in float64."""
        rows = [self._ids(exchange) for exchange in exchanges]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        scores = np.zeros(len(rows))
        for first in range(0, len(rows), self._rows_per_batch):
            batch = order[first : first + self._rows_per_batch]
            logprob = self._next_logprob([rows[i] for i in batch])[:, self._answers].double().cpu().numpy()
            scores[batch] = expected_rating(logprob, self._ratings)
        return scores

    def _next_logprob(self, rows: Sequence[Sequence[int]]) -> Tensor:
        length = max(map(len, rows))
        ids, seen = (torch.zeros(len(rows), length, dtype=torch.int64) for _ in range(2))
        for i, row in enumerate(rows):  # on the right: behind the last token that counts, where nothing looks back
            ids[i, : len(row)], seen[i, : len(row)] = torch.tensor(row), 1
        device = self._model.device
        logits: Tensor = self._model(input_ids=ids.to(device), attention_mask=seen.to(device)).logits
        last = torch.tensor([len(row) - 1 for row in rows], device=device)
        return logits[torch.arange(len(rows), device=device), last].float().log_softmax(-1)

    def _ids(self, exchange: Exchange) -> list[int]:
        filling = dict(zip(_SLOTS, (exchange.prompt.strip(), exchange.response), strict=True))
        asked = re.sub("|".join(map(re.escape, _SLOTS)), lambda slot: filling[slot[0]], self._prompt)  # one pass: a
        # response that spells a slot fills none
        if self._tokenizer.chat_template is None:
            return list(self._tokenizer.encode(asked))
        rendered = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}], tokenize=False, add_generation_prompt=True
        )
        return list(self._tokenizer.encode(rendered, add_special_tokens=False))

    def _token(self, text: str) -> int:
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1:
            raise ValueError(f"scorer.answers has {text!r}, which is {len(ids)} tokens of this model; expected one "
                             "(a leading space often matters)")
        return int(ids[0])


def expected_rating(logprob: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """[S] of [S, K] log-probs of K answers and their [K] ratings. (log .6, log .2), (1, 0) -> .75."""
    weight = np.exp(logprob - logprob.max(axis=1, keepdims=True))
    return np.asarray((weight * ratings).sum(axis=1) / weight.sum(axis=1))
