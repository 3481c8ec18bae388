"""A sequence classifier of transformers as a function from token rows to scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rrl.codec.tokenizer import TokenizerCodec, load_tokenizer
from rrl.protocols import SpeltTask, Task
from rrl.types import Start


class Classifier:
    """Scores of states by ``AutoModelForSequenceClassification``; frozen, on its own device.

    With one label the score is its logit; with several the log-odds of ``good_label`` against the rest together.

    Args:
      task: who spells the states.
      model: hub name or folder.  revision: on the hub.
      reads: "text" = the state is decoded and spelled anew by this model's tokenizer; "ids" = token ids as they are.
      dtype, device: of the weights; device "auto" = cuda where there is one.
      rows_per_batch: states a forward; bounds memory.
    Raises:
      ValueError: the model cannot be loaded, or cannot read this task.
    """

    def __init__(
        self, *, task: Task, model: str, revision: str, reads: str, good_label: int, dtype: str, device: str,
        rows_per_batch: int,
    ) -> None:
        if dtype not in ("float32", "bfloat16", "float16", "float64"):
            raise ValueError(f"value.dtype is {dtype!r}; expected float32, float64, bfloat16 or float16")
        if device not in ("cpu", "cuda", "auto"):
            raise ValueError(f"value.device is {device!r}; expected cpu, cuda or auto")
        if rows_per_batch < 1:
            raise ValueError(f"value.rows_per_batch is {rows_per_batch}; expected >= 1")
        if reads not in ("text", "ids"):
            raise ValueError(f"value.reads is {reads!r}; expected text or ids")
        self._name, self._rows_per_batch, self._good = model, rows_per_batch, good_label
        self._codec = self._spelling(task, model, revision) if reads == "text" else None
        self._task = task
        self._model = _load(model, revision, getattr(torch, dtype))
        self._model.to(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        config: Any = self._model.config.get_text_config()
        self._config = config
        # A decoder's classifier reads off the last token that is not this one. A state may end with any id, so none is.
        config.pad_token_id = -1
        if reads == "ids" and task.vocab_size > config.vocab_size:
            raise ValueError(f"value.model {model!r} knows {config.vocab_size} ids, task {task.name!r} has "
                             f"{task.vocab_size}; expected a model of the task's own ids, or value.reads=text")
        if not 0 <= good_label < self._model.config.num_labels:
            raise ValueError(f"value.good_label is {good_label}; {model!r} has labels 0.."
                             f"{self._model.config.num_labels - 1}")

    @torch.no_grad()
    def __call__(self, states: Sequence[Start]) -> np.ndarray:
        """[S] scores, in float64. Raises ValueError for a state that is too long to be read."""
        rows = [self._ids(state) for state in states]
        longest = getattr(self._config, "max_position_embeddings", None)
        if longest is not None and max(map(len, rows), default=0) > longest:
            raise ValueError(f"a state has {max(map(len, rows))} tokens for value.model {self._name!r}, which reads "
                             f"{longest}; lower task.max_prompt or task.max_response, or choose another model")
        scores = np.zeros(len(rows))
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        for length in np.unique(lengths):  # rows of one length fill a rectangle by themselves
            alike = np.flatnonzero(lengths == length)
            for first in range(0, len(alike), self._rows_per_batch):
                batch = alike[first : first + self._rows_per_batch]
                scores[batch] = self._scores([rows[i] for i in batch])
        return scores

    def _scores(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        logits = self._model(input_ids=torch.tensor(rows, device=self._model.device)).logits.double().cpu()
        if logits.shape[1] == 1:
            return np.asarray(logits[:, 0].numpy())
        rest = torch.cat([logits[:, : self._good], logits[:, self._good + 1 :]], dim=1)
        return np.asarray((logits[:, self._good] - rest.logsumexp(1)).numpy())

    def _ids(self, state: Start) -> Sequence[int]:
        return state.context if self._codec is None else self._codec.encode(self._task.decode(state.context))

    @staticmethod
    def _spelling(task: Task, model: str, revision: str) -> TokenizerCodec:
        if not isinstance(task, SpeltTask):
            raise ValueError(f"value.reads is text, and task {task.name!r} has no words, only symbols of its own; "
                             "expected a task in words, or value.reads=ids")
        return TokenizerCodec(load_tokenizer(model, revision, None))


def _load(model: str, revision: str, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForSequenceClassification

    try:
        loaded, report = AutoModelForSequenceClassification.from_pretrained(
            model, revision=revision, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError) as error:  # transformers' two ways of saying that there is no such model
        raise ValueError(f"value.model is {model!r}, which cannot be loaded as a classifier: {error}") from error
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"value.model is {model!r}, which lacks the weights {missing[:3]}; expected a trained "
                         "sequence classifier, e.g. a reward model")
    return loaded.eval().requires_grad_(False)
