"""A task in words whose answers are programs: scored by running them, many at a time."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from rrl.protocols import Outcome, PassedTests, TextCodec
from rrl.ranks import Ranks
from rrl.task.code.extract import code_of, statement_boundaries
from rrl.task.code.grader import CodeGrader
from rrl.task.data.row import Data, Row, Table
from rrl.task.text import TextTask
from rrl.types import Problem, Tokens, plain

log = logging.getLogger(__name__)


class CodeTask:
    """``TextTask`` with statements as steps and programs as answers.

    Args:
      check_solutions: run every known solution once at the start; those that fail a test are left out as
        demonstrations, and counted. false = they are taken for right.
      output_dir: ``data.json`` as of any text task, and ``sandbox.json``: which wall stood around the programs.
      others: see ``TextTask``.
    """

    def __init__(
        self, *, seed: int, codec: TextCodec, ranks: Ranks, output_dir: Path, name: str, data: Data,
        grader: CodeGrader, prompt: str, num_train: int, num_heldout: int, max_prompt: int, max_response: int,
        step_apart: int, check_solutions: bool, bad_rows: Literal["refuse", "skip"],
    ) -> None:  # fmt: skip
        read = data.read(seed=seed, num_train=num_train, num_heldout=num_heldout)
        known = [(row, row.solution) for table in read for row in table.rows if row.solution is not None]
        if check_solutions:
            grader.ahead(known)
        else:
            for row, solution in known:
                grader.trust(row, solution)
        self._text = TextTask(
            seed=seed, codec=codec, ranks=ranks, output_dir=output_dir, name=name, data=_Read(read), grader=grader,
            prompt=prompt, num_train=num_train, num_heldout=num_heldout, max_prompt=max_prompt,
            max_response=max_response, step_apart=step_apart, bad_rows=bad_rows,
        )  # fmt: skip
        self.codec, self._grader, self._apart = codec, grader, step_apart
        self.name, self.score_range = name, grader.score_range
        self.vocab_size, self.pad = codec.vocab_size, codec.pad
        tests = repr([(row.where, row.entry) for table in read for row in table.rows])
        self.fingerprint = hashlib.blake2b(f"{self._text.fingerprint} {tests}".encode(), digest_size=8).hexdigest()
        if ranks.is_main:
            record = grader.sandbox.record
            (output_dir / "sandbox.json").write_text(json.dumps(record, indent=1))
            log.info("programs run behind the wall %r%s", record.get("wall"),
                     "".join(f"; not behind {why}" for why in record.get("not_held", ())))  # fmt: skip

    def train_problems(self) -> list[Problem]:
        return self._text.train_problems()

    def eval_problems(self) -> list[Problem]:
        return self._text.eval_problems()

    def score(self, problem: Problem, response: Tokens) -> Outcome:
        """The verdict on a response that ended by itself; the lowest score for one that was cut."""
        return self._text.score(problem, plain(response))

    def tests(self, problem: Problem, response: Tokens) -> PassedTests | None:
        """How the program in a response did; None for a response that was cut. With task.grader.partial = 0 a script's
        tests behind the first failure are not run."""
        if not response or response[-1] not in problem.stop:
            return None
        verdict = self._grader.verdict(self.row(problem), code_of(self.codec.decode(plain(response[:-1]))), 0)
        return PassedTests(kind=verdict.kind, passed=verdict.passed, total=verdict.total)

    def ahead(self, responses: Sequence[tuple[Problem, Tokens]]) -> None:
        """Runs the programs of ``responses`` many at a time; ``score`` then knows their verdicts."""
        self._grader.ahead([
            (self.row(problem), self.codec.decode(plain(response[:-1])))
            for problem, response in responses if response and response[-1] in problem.stop
        ])  # fmt: skip

    def right_prefix(self, problem: Problem) -> Tokens:
        return self._text.right_prefix(problem)

    def demonstrations(self, num: int, generator: np.random.Generator) -> list[tuple[Problem, Tokens]]:
        return self._text.demonstrations(num, generator)

    def steps(self, problem: Problem, response: Tokens) -> list[int]:
        """Before each program of the response and behind each of its statements."""
        ended = bool(response) and response[-1] in problem.stop
        said = response[:-1] if ended else response
        return statement_boundaries(self.codec.decode, plain(said), self._apart)

    def row(self, problem: Problem) -> Row:
        """What ``problem`` was made of."""
        return self._text.row(problem)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.codec.decode(tokens)

    def encode(self, text: str) -> Tokens:
        return self.codec.encode(text)


class _Read:
    """Data that has been read already."""

    def __init__(self, tables: tuple[Table, Table]) -> None:
        self._tables = tables

    def read(self, *, seed: int, num_train: int, num_heldout: int) -> tuple[Table, Table]:
        del seed, num_train, num_heldout
        return self._tables
