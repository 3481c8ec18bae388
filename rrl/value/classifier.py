"""A sequence classifier as a function from states to scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rrl.codec.tokenizer import TokenizerCodec, load_tokenizer
from rrl.protocols import SpeltTask, Task
from rrl.scorer.classifier import SequenceClassifier
from rrl.types import Start


class Classifier:
    """Scores of states (prompt and prefix) by a ``SequenceClassifier``.

    Args:
      task: who spells the states.
      reads: "text" = the state is decoded and spelled anew by this model's tokenizer; "ids" = token ids as they are.
      others: see ``SequenceClassifier``.
    Raises:
      ValueError: the model cannot be loaded, or cannot read this task.
    """

    def __init__(
        self, *, task: Task, model: str, revision: str, trust_remote_code: bool, reads: str, good_label: int,
        dtype: str, device: str, rows_per_batch: int,
    ) -> None:
        if reads not in ("text", "ids"):
            raise ValueError(f"value.reads is {reads!r}; expected text or ids")
        self._codec = self._spelling(task, model, revision, trust_remote_code) if reads == "text" else None
        self._task = task
        self._classify = SequenceClassifier(
            key="value", model=model, revision=revision, trust_remote_code=trust_remote_code, good_label=good_label,
            dtype=dtype, device=device, rows_per_batch=rows_per_batch,
        )  # fmt: skip
        if reads == "ids" and task.vocab_size > self._classify.vocab_size:
            raise ValueError(f"value.model {model!r} knows {self._classify.vocab_size} ids, task {task.name!r} has "
                             f"{task.vocab_size}; expected a model of the task's own ids, or value.reads=text")

    def __call__(self, states: Sequence[Start]) -> np.ndarray:
        """[S] scores, in float64. Raises ValueError for a state that is too long to be read."""
        return self._classify([self._ids(state) for state in states])

    def _ids(self, state: Start) -> Sequence[int]:
        return state.context if self._codec is None else self._codec.encode(self._task.decode(state.context))

    @staticmethod
    def _spelling(task: Task, model: str, revision: str, trust_remote_code: bool) -> TokenizerCodec:
        if not isinstance(task, SpeltTask):
            raise ValueError(f"value.reads is text, and task {task.name!r} has no words, only symbols of its own; "
                             "expected a task in words, or value.reads=ids")
        return TokenizerCodec(load_tokenizer(
            model, revision, None, trust_remote_code=trust_remote_code, key="value.model"
        ))
