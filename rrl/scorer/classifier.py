"""Sequence classifiers of transformers as functions from rows of token ids to numbers, many rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rrl.pretrained import load

DTYPES = ("float32", "float64", "bfloat16", "float16")


class SequenceClassifier:
    """``AutoModelForSequenceClassification``, frozen, on its own device.

    With one label the score is its logit; with several the log-odds of ``good_label`` against the rest together.
    Rows of alike length share a forward and are padded on the right; what stands in a batch beside a row changes its
    score by rounding only.

    Args:
      key: where it stands in the config, for messages.
      model: hub name or folder.  revision: on the hub.  trust_remote_code: see ``rrl.pretrained.load``.
      dtype, device: of the weights; device "auto" = cuda where there is one.
      rows_per_batch: rows a forward; bounds memory.
    Raises:
      ValueError: the model cannot be loaded, or a number is out of range.
    """

    def __init__(
        self, *, key: str, model: str, revision: str, trust_remote_code: bool, good_label: int, dtype: str, device: str,
        rows_per_batch: int,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"{key}.dtype is {dtype!r}; expected one of: {', '.join(DTYPES)}")
        if device not in ("cpu", "cuda", "auto"):
            raise ValueError(f"{key}.device is {device!r}; expected cpu, cuda or auto")
        if rows_per_batch < 1:
            raise ValueError(f"{key}.rows_per_batch is {rows_per_batch}; expected >= 1")
        self._key, self._name, self._good, self._rows_per_batch = key, model, good_label, rows_per_batch
        self._model = _load(key, model, revision, trust_remote_code, getattr(torch, dtype))
        self._model.to(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self._config: Any = self._model.config.get_text_config()
        if not 0 <= good_label < self._model.config.num_labels:
            raise ValueError(f"{key}.good_label is {good_label}; {model!r} has labels 0.."
                             f"{self._model.config.num_labels - 1}")

    @property
    def vocab_size(self) -> int:
        """Ids that it knows."""
        return int(self._config.vocab_size)

    @torch.no_grad()
    def __call__(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """[S] scores, in float64. Raises ValueError for a row that is empty or too long to be read."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        longest = getattr(self._config, "max_position_embeddings", None)
        if longest is not None and lengths.max(initial=0) > longest:
            raise ValueError(f"a state has {lengths.max()} tokens for {self._key}.model {self._name!r}, which reads "
                             f"{longest}; lower task.max_prompt or task.max_response, or choose another model")
        if lengths.min(initial=1) < 1:
            raise ValueError(f"{self._key}.model was given a row without a token; expected >= 1")
        scores, order = np.zeros(len(rows)), np.argsort(lengths, kind="stable")
        for first in range(0, len(rows), self._rows_per_batch):
            batch = order[first : first + self._rows_per_batch]
            scores[batch] = self._scores([rows[i] for i in batch])
        return scores

    def _scores(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        logits = logits_of(self._model, rows).double().cpu()
        if logits.shape[1] == 1:
            return np.asarray(logits[:, 0].numpy())
        rest = torch.cat([logits[:, : self._good], logits[:, self._good + 1 :]], dim=1)
        return np.asarray((logits[:, self._good] - rest.logsumexp(1)).numpy())


def logits_of(model: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    """[S, labels] of rows padded on the right; with a gradient where the caller has one.

    A decoder's classifier reads off the last token that is not the padding id, and a row may itself end with the one
    that its tokenizer pads with: the id that pads here is one that no row ends with.
    """
    config = model.config.get_text_config()
    ends = {row[-1] for row in rows}
    config.pad_token_id = next(i for i in range(len(ends) + 1) if i not in ends)
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), config.pad_token_id, dtype=torch.int64)
    seen = torch.zeros(len(rows), length, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], seen[i, : len(row)] = torch.tensor(row), 1
    logits: Tensor = model(input_ids=ids.to(model.device), attention_mask=seen.to(model.device)).logits
    return logits


def _load(key: str, model: str, revision: str, trust_remote_code: bool, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForSequenceClassification

    loaded, report = load(
        AutoModelForSequenceClassification, model, key=f"{key}.model", revision=revision, gguf_file=None,
        trust_remote_code=trust_remote_code, dtype=dtype, output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{key}.model is {model!r}, which lacks the weights {missing[:3]}; expected a trained "
                         "sequence classifier, e.g. a reward model")
    return loaded.eval().requires_grad_(False)
