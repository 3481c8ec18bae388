"""What a program is tested by. None of it but arguments and inputs ever enters the process that runs the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Stdio:
    """cases: (stdin, expected stdout), each a run of its own."""

    cases: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSuite:
    """setup: trusted code before the program.  calls: (function, arguments, expected value), all of plain values.
    from_json: expected values came from a format without tuples, and some wrap one value in a list."""

    setup: str
    calls: tuple[tuple[str, tuple[Any, ...], Any], ...]
    from_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSuite:
    """Tests that are code. setup: trusted code before the program.  tests_setup: before the tests.
    names: functions of the program that they call.  tests: units; one that raises has failed."""

    setup: str
    tests_setup: str
    names: tuple[str, ...]
    tests: tuple[str, ...]


Suite = Stdio | CallSuite | CodeSuite


def num_tests(suite: Suite) -> int:
    """How many units it has."""
    if isinstance(suite, Stdio):
        return len(suite.cases)
    return len(suite.calls if isinstance(suite, CallSuite) else suite.tests)


def first_tests(suite: Suite, num: int) -> Suite:
    """Its first ``num`` units."""
    if isinstance(suite, Stdio):
        return Stdio(cases=suite.cases[:num])
    if isinstance(suite, CallSuite):
        return CallSuite(setup=suite.setup, calls=suite.calls[:num], from_json=suite.from_json)
    return CodeSuite(
        setup=suite.setup, tests_setup=suite.tests_setup, names=suite.names, tests=suite.tests[:num]
    )  # fmt: skip
