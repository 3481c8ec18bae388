"""Runs a program against its tests and says how it did. Every comparison is made here, outside its process."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rrl.sandbox.job import Calls, Finished, Job, Script, Tests
from rrl.sandbox.same import same
from rrl.sandbox.values import Wire
from rrl.task.code.suites import CallSuite, CodeSuite, Stdio, Suite, num_tests

Kind = Literal["solved", "wrong", "too_slow", "runtime_error", "compile_error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """kind: "solved", or how the first failed test failed.  passed, total: tests.
    unsupported: what the program asked for that the sandbox does not give, "" where nothing."""

    kind: Kind
    passed: int
    total: int
    unsupported: str


def judge(run: Callable[[Job], Finished], source: str, suite: Suite, *, stop_early: bool, tolerance: float) -> Verdict:
    """Verdict on the program ``source``.

    Args:
      run: of a sandbox.
      stop_early: leave out what stands behind the first failed run; else only what stands behind one that is too slow
        or does not compile.
      tolerance: of expected floats, relative and absolute.
    """
    if isinstance(suite, Stdio):
        return _judge_stdio(run, source, suite, stop_early, tolerance)
    if isinstance(suite, CallSuite):
        calls = tuple((name, arguments) for name, arguments, _ in suite.calls)
        done = run(Calls(source=source, setup=suite.setup, calls=calls))
        kinds = [_call_kind(reply, call[2], suite, tolerance) for reply, call in zip(done.replies, suite.calls)]  # noqa: B905 - fewer replies than calls
    else:
        assert isinstance(suite, CodeSuite)
        done = run(Tests(
            source=source, setup=suite.setup, tests_setup=suite.tests_setup, names=suite.names, tests=suite.tests,
        ))  # fmt: skip
        kinds = [_test_kind(reply) for reply in done.replies]
    total = num_tests(suite)
    if len(kinds) < total:
        kinds += [_ended(done)] * (total - len(kinds))
    return _verdict(kinds[:total], total, done.unsupported)


def _judge_stdio(
    run: Callable[[Job], Finished], source: str, suite: Stdio, stop_early: bool, tolerance: float
) -> Verdict:  # fmt: skip
    kinds: list[Kind] = []
    unsupported = ""
    for stdin, expected in suite.cases:
        done = run(Script(source=source, stdin=stdin))
        unsupported = unsupported or done.unsupported
        if done.how == "exited" and done.status == 0:
            told = done.stdout.decode("utf-8", "replace")
            kinds.append("solved" if same_output(expected, told, tolerance) else "wrong")
        else:
            kinds.append(_ended(done))
        if kinds[-1] in ("too_slow", "compile_error") or (stop_early and kinds[-1] != "solved"):
            break
    return _verdict(kinds, len(suite.cases), unsupported)


def same_output(expected: str, told: str, tolerance: float) -> bool:
    """The same lines but for white space at their ends and blank lines at the end; or the same words, where a decimal
    number may differ by ``tolerance``.

    Example: "1.0 yes\\n" equals "1.0000000001  yes"; "2" does not equal "2.0".
    """
    if _lines(expected) == _lines(told):
        return True
    wanted, words = expected.split(), told.split()
    return len(wanted) == len(words) and all(_same_word(w, t, tolerance) for w, t in zip(wanted, words, strict=True))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_word(wanted: str, told: str, tolerance: float) -> bool:
    if wanted == told:
        return True
    if not tolerance or not any(mark in wanted for mark in ".eE") or len(told) > 400:
        return False
    try:
        return math.isclose(float(wanted), float(told), rel_tol=tolerance, abs_tol=tolerance)
    except ValueError:
        return False


def _call_kind(reply: Wire, expected: object, suite: CallSuite, tolerance: float) -> Kind:
    if "v" not in reply:
        return "runtime_error"
    wanted = [expected]
    if suite.from_json and isinstance(expected, list) and len(expected) == 1:
        wanted.append(expected[0])
    alike = suite.from_json
    if any(same(value, reply["v"], tolerance=tolerance, sequences_alike=alike) for value in wanted):
        return "solved"
    return "wrong"


def _test_kind(reply: Wire) -> Kind:
    if "v" in reply:
        return "solved" if reply["v"] is True else "wrong"
    return "wrong" if reply["e"][0] == "AssertionError" else "runtime_error"


def _ended(done: Finished) -> Kind:
    if done.how == "late":
        return "too_slow"
    return "runtime_error" if done.compiled else "compile_error"


def _verdict(kinds: list[Kind], total: int, unsupported: str) -> Verdict:
    failed = [kind for kind in kinds if kind != "solved"]
    passed = len(kinds) - len(failed)
    kind: Kind = failed[0] if failed else "solved" if passed == total and total else "wrong"
    return Verdict(kind=kind, passed=passed, total=total, unsupported=unsupported)
