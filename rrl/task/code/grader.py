"""Scores a response by running the program in it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from rrl.protocols import Outcome
from rrl.sandbox.pool import Sandbox
from rrl.task.code.extract import code_of, code_span, fenced
from rrl.task.code.suites import Suite, num_tests
from rrl.task.code.verdict import Verdict, judge
from rrl.task.data.row import Row

log = logging.getLogger(__name__)

_KEPT = 1 << 16
"""Verdicts remembered: groups of samples repeat programs, filters ask again."""


class CodeGrader:
    """solved where every test passes; else the score of how the first failed test failed, raised by partial credit.

    score = s + partial * passed / total * (solved_score - s), s the score of that failure; StepCoder (Dou et al.,
    2402.01391, section 3.2) has partial 0 and the scores of conf/task/code.yaml.
    A program that takes too long counts as one with a runtime error. One that asks for what the sandbox does not give
    (a file, another process, a module that is not there) fails as it would by itself, and is counted in ``counts`` as
    "unsupported" and logged.

    Args:
      sandbox: runs programs.
      solved_score, wrong, runtime_error, compile_error: scores; the first is the largest, the last the least.
      partial: share of the way up that passed tests give, in [0, 1]; with 0 no test behind the first failure is run.
      tolerance: of floats in expected values and of decimal numbers in expected output, relative and absolute, >= 0.
    """

    def __init__(
        self, *, sandbox: Sandbox, solved_score: float, wrong: float, runtime_error: float, compile_error: float,
        partial: float, tolerance: float,
    ) -> None:  # fmt: skip
        if not solved_score > max(wrong, runtime_error) or not min(wrong, runtime_error) >= compile_error:
            raise ValueError(
                f"task.grader has solved_score {solved_score}, wrong {wrong}, runtime_error {runtime_error}, "
                f"compile_error {compile_error}; expected the first above all others and none below the last"
            )
        if not 0.0 <= partial <= 1.0 or tolerance < 0.0:
            raise ValueError(f"task.grader has partial {partial}, tolerance {tolerance}; expected 0..1 and >= 0")
        self.sandbox = sandbox
        self._scores = {"solved": solved_score, "wrong": wrong, "too_slow": runtime_error,
                        "runtime_error": runtime_error, "compile_error": compile_error}  # fmt: skip
        self.score_range = (compile_error, solved_score)
        self._partial, self._tolerance = partial, tolerance
        self.fingerprint = f"code-1 {self._scores} {partial} {tolerance} {sandbox.fingerprint}"
        self._verdicts: dict[tuple[str, str], Verdict] = {}
        self.counts: Counter[str] = Counter()
        """Programs judged so far, by kind of verdict, and how many of them were unsupported."""

    def flaw(self, row: Row) -> str:
        suite = row.entry.get("suite")
        if suite is None:
            return "has no tests; expected task.data of CodeTables"
        return "" if num_tests(suite) else "has no tests"

    def grade(self, row: Row, response: str) -> Outcome:
        """Runs the program unless its verdict is known. Raises ZygoteLost where nothing can be known."""
        verdict = self.verdict(row, response)
        least = self._scores[verdict.kind]
        share = self._partial * verdict.passed / verdict.total
        solved = verdict.kind == "solved"
        return Outcome(least if solved else least + share * (self._scores["solved"] - least), solved)

    def verdict(self, row: Row, response: str) -> Verdict:
        """How the program in a response did; run only where that is not known. Raises as ``grade``."""
        source = code_of(response)
        return self._verdicts.get((row.where, source)) or self._judged(row, source)

    def ahead(self, responses: Sequence[tuple[Row, str]]) -> None:
        """Judges those programs whose verdict is not known, as many at a time as the sandbox runs."""
        asked = {(row.where, code_of(text)): row for row, text in responses}
        new = [(row, source) for (where, source), row in asked.items() if (where, source) not in self._verdicts]
        self.sandbox.map(self._judged_or_left, new)

    def trust(self, row: Row, response: str) -> None:
        """Takes a known solution for right without running it."""
        total = num_tests(row.entry["suite"])
        self._verdicts[row.where, code_of(response)] = Verdict(
            kind="solved", passed=total, total=total, unsupported=""
        )  # fmt: skip

    def stated(self, response: str) -> int | None:
        return code_span(response)[0]

    def say(self, answer: str) -> str:
        return fenced(answer)

    def _judged_or_left(self, asked: tuple[Row, str]) -> None:
        try:
            self._judged(*asked)
        except RuntimeError:  # it is judged again, and fails for all to see, when its score is asked for
            log.warning("no verdict on a program for %s", asked[0].where, exc_info=True)

    def _judged(self, row: Row, source: str) -> Verdict:
        suite: Suite = row.entry["suite"]
        verdict = judge(
            self.sandbox.run, source, suite, stop_early=self._partial == 0.0, tolerance=self._tolerance
        )  # fmt: skip
        if len(self._verdicts) >= _KEPT:
            self._verdicts.clear()
        self._verdicts[row.where, source] = verdict
        self.counts[verdict.kind] += 1
        if verdict.unsupported:
            self.counts["unsupported"] += 1
            if self.counts["unsupported"] in (1, 10, 100, 1000) or self.counts["unsupported"] % 10_000 == 0:
                log.warning("%d of %d programs asked for what the sandbox does not give; the last: %s",
                            self.counts["unsupported"], sum(self.counts.values()) - self.counts["unsupported"],
                            verdict.unsupported)  # fmt: skip
        return verdict
