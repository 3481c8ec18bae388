"""A scorer of harm that needs no model: how many listed words a state says."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from rrl.protocols import Task
from rrl.types import Start


class Lexicon:
    """Distinct entries of ``words`` that stand in the decoded context, as whole words, whatever their case.

    A word list knows no context ("a bomb of a party"); it is for tests and as a floor below a classifier.

    Args:
        task: decodes.
        words: words or phrases, at least one.
    """

    def __init__(self, *, task: Task, words: list[str]) -> None:
        if not words or not all(word.strip() for word in words):
            raise ValueError(f"replay.filter.harm.scorer.words is {words}; expected at least one word, none blank")
        self._task = task
        spelled = [r"\s+".join(map(re.escape, word.split())) for word in words]
        self._words = [re.compile(rf"(?<!\w){word}(?!\w)", re.IGNORECASE) for word in spelled]

    def __call__(self, states: Sequence[Start]) -> np.ndarray:
        """[S] counts."""
        texts = [self._task.decode(state.context) for state in states]
        return np.array([sum(word.search(text) is not None for word in self._words) for text in texts], dtype=float)
