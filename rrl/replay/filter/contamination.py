"""Prefixes that repeat an evaluation problem: what is restarted from them would be learned by heart."""

from __future__ import annotations

import re

from rrl.protocols import Task, Verdict
from rrl.records import Attempt, Prefix
from rrl.types import plain

_WORD = re.compile(r"\w+")


class Contamination:
    """Drop where more than ``max_overlap_frac`` of the prefix's word n-grams stand in an evaluation problem.

    An evaluation problem's prompt, answer and solution are searched, each by itself. N-grams of the prefix's own prompt
    are not counted: a template that all problems share is no leak. Any 13-gram: Brown et al., 2020 (arXiv 2005.14165,
    appendix C).

    Args:
        task: knows the evaluation problems, and decodes.
        ngram: n, words, >= 1.
        max_overlap_frac: largest share, [0, 1).
    """

    def __init__(self, *, task: Task, ngram: int, max_overlap_frac: float) -> None:
        if ngram < 1 or not 0.0 <= max_overlap_frac < 1.0:
            raise ValueError(f"replay.filter.contamination has ngram {ngram} and max_overlap_frac {max_overlap_frac}; "
                             "expected ngram >= 1 and a share in [0, 1)")
        self._task, self._ngram, self._max_overlap_frac = task, ngram, max_overlap_frac
        self._known: set[str] = set()
        for problem in task.eval_problems():
            for text in (task.decode(problem.prompt), problem.answer, task.decode(problem.solution)):
                self._known.update(self._grams(text))

    def check(self, prefix: Prefix, attempt: Attempt) -> Verdict:  # noqa: ARG002
        grams = self._grams(self._task.decode(plain(prefix.tokens)))
        if known := [gram for gram in grams if gram in self._known]:
            asked = set(self._grams(self._task.decode(prefix.problem.prompt)))
            overlap = sum(gram not in asked for gram in known) / len(grams)
            if overlap > self._max_overlap_frac:
                return Verdict("drop", f"{overlap:.2f} of its {self._ngram}-grams stand in an evaluation problem")
        return Verdict("keep", "")

    def _grams(self, text: str) -> list[str]:
        words = _WORD.findall(text.casefold())
        return [" ".join(words[i : i + self._ngram]) for i in range(len(words) - self._ngram + 1)]
