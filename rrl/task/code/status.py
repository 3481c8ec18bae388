"""The code task that answers: when a program is closed, it says how that program did on the first tests."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from rrl.protocols import Outcome, PassedTests, TextCodec
from rrl.ranks import Ranks
from rrl.sandbox.link import ZygoteLost
from rrl.task.code.extract import code_of, num_closed
from rrl.task.code.grader import CodeGrader
from rrl.task.code.task import CodeTask
from rrl.task.code.verdict import Kind, Verdict
from rrl.task.data.row import Data
from rrl.types import Problem, Tokens, plain

log = logging.getLogger(__name__)

_SAID: dict[Kind, str] = {
    "solved": "all pass", "wrong": "wrong answer", "runtime_error": "runtime error", "too_slow": "too slow",
    "compile_error": "does not compile",
}  # fmt: skip


class CodeStatusTask:
    """``CodeTask`` that is also an ``Environment``: behind each closed block it says, for example,
    ``[tests: 1 of 2, wrong answer]``, and the response goes on. The last block counts, on all tests.

    What it says is made of counts and five fixed words: nothing that a program printed, and no expected value.

    Args:
      told_tests: tests run, the first ones of a problem, >= 1; the model learns how they went, and nothing of the rest.
      told_times: blocks answered in one response, >= 1.
      others: see ``CodeTask``.
    """

    def __init__(
        self, *, seed: int, codec: TextCodec, ranks: Ranks, output_dir: Path, name: str, data: Data,
        grader: CodeGrader, prompt: str, num_train: int, num_heldout: int, max_prompt: int, max_response: int,
        step_apart: int, check_solutions: bool, bad_rows: Literal["refuse", "skip"], told_tests: int, told_times: int,
    ) -> None:  # fmt: skip
        for key, number in (("told_tests", told_tests), ("told_times", told_times)):
            if number < 1:
                raise ValueError(f"task.{key} is {number}; expected >= 1; task=code says nothing")
        self._code = CodeTask(
            seed=seed, codec=codec, ranks=ranks, output_dir=output_dir, name=name, data=data, grader=grader,
            prompt=prompt, num_train=num_train, num_heldout=num_heldout, max_prompt=max_prompt,
            max_response=max_response, step_apart=step_apart, check_solutions=check_solutions, bad_rows=bad_rows,
        )  # fmt: skip
        self._grader, self._told_tests, self._told_times = grader, told_tests, told_times
        self.name, self.codec, self.score_range = name, codec, grader.score_range
        self.vocab_size, self.pad = codec.vocab_size, codec.pad
        said = f"{self._code.fingerprint} {told_tests} {told_times}"
        self.fingerprint = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
        counts = itertools.product(_SAID, range(told_tests + 1), range(told_tests + 1))
        self.max_given = told_times * max(len(codec.encode(_text(*c))) for c in counts)

    def observe(self, problem: Problem, response: Tokens) -> Tokens:
        """The status of the block that the last token closed; () anywhere else, and once enough has been said."""
        if "`" not in self.codec.decode(response[-1:]) or _times(response) >= self._told_times:
            return ()
        read = plain(response)
        text = self.codec.decode(read)
        if num_closed(text) <= num_closed(self.codec.decode(read[:-1])):
            return ()
        try:
            verdict = self._grader.verdict(self._code.row(problem), code_of(text), self._told_tests)
        except ZygoteLost:
            log.warning("no verdict on a program for %s: its response hears nothing", problem.id, exc_info=True)
            return ()
        return self.codec.encode(status(verdict))

    def train_problems(self) -> list[Problem]:
        return self._code.train_problems()

    def eval_problems(self) -> list[Problem]:
        return self._code.eval_problems()

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        """On the last block, by all tests; the lowest score for a response that was cut."""
        return self._code.score(problem, response)

    def tests(self, problem: Problem, response: Tokens) -> PassedTests | None:
        """How the last block did, by all tests; None for a response that was cut."""
        return self._code.tests(problem, response)

    def ahead(self, responses: Sequence[tuple[Problem, Tokens]]) -> None:
        self._code.ahead(responses)

    def right_prefix(self, problem: Problem) -> Tokens:
        return self._code.right_prefix(problem)

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:
        """Those of ``CodeTask``: right at once; what is said behind them follows from ``observe``."""
        return self._code.demonstrations(num, generator)

    def steps(self, problem: Problem, response: Tokens) -> list[int]:
        return self._code.steps(problem, response)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._code.decode(tokens)

    def encode(self, text: str) -> Tokens:
        return self._code.encode(text)


def status(verdict: Verdict) -> str:
    """Example: wrong, 1 of 2 -> "\\n[tests: 1 of 2, wrong answer]\\n"."""
    return _text(verdict.kind, verdict.passed, verdict.total)


def _text(kind: Kind, passed: int, total: int) -> str:
    return f"\n[tests: {passed} of {total}, {_SAID[kind]}]\n"


def _times(response: Tokens) -> int:
    """Stretches of given tokens. (7, -4, -5, 6, -8) -> 2."""
    return sum(1 for before, token in itertools.pairwise((0, *response)) if token < 0 <= before)
