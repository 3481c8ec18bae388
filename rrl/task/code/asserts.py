"""Tests that are assert statements: calls with plain values where they are that, else code for a second process."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from typing import Any

from rrl.task.code.suites import CallSuite, CodeSuite

Call = tuple[str, tuple[Any, ...], Any]


def suite_of(tests: Sequence[str], *, setup: str, tests_setup: str) -> CallSuite | CodeSuite:
    """``assert f(1, [2]) == 3`` for all of them gives calls; anything else among them gives code.

    Args:
      tests: one statement each.
      setup: trusted code before the program.
      tests_setup: trusted code before the tests; with any, they are code.
    Raises:
      ValueError: one is no Python, or what is tested has no name.
    """
    calls = [plain_call(test) for test in tests]
    found = [call for call in calls if call is not None]
    if len(found) == len(calls) and not tests_setup.strip():
        return CallSuite(setup=setup, calls=tuple(found), from_json=False)
    before = "\n".join(part for part in (setup, tests_setup) if part.strip())
    names = tuple(sorted(set().union(*map(_loaded, tests)) - _defined(before) - set(dir(builtins))))
    if undefined := sorted(_loaded(before) - _defined(before) - set(dir(builtins))):
        raise ValueError(f"builds its tests with {', '.join(undefined)} of the program; only plain values can cross")
    if not names:
        raise ValueError("has tests that call no function of the program")
    return CodeSuite(setup=setup, tests_setup=before, names=names, tests=tuple(tests))


def check_suite(test: str, *, entry: str, setup: str) -> CallSuite | CodeSuite:
    """The tests of a function ``check(candidate)``, as HumanEval has them.

    Args:
      test: source that defines it.
      entry: function of the program that is the candidate.
      setup: what stands before that function in the prompt: imports and functions given.
    """
    body = next((n.body for n in _tree(test).body if isinstance(n, ast.FunctionDef) and n.name == "check"), None)
    if body is None:
        raise ValueError("has tests without a function check(candidate)")
    kept = [n for n in body if not _says_nothing(n)]
    calls = [plain_call(ast.unparse(n)) for n in kept]
    found = [(entry, call[1], call[2]) for call in calls if call is not None and call[0] == "candidate"]
    if kept and len(found) == len(kept):
        return CallSuite(setup=setup, calls=tuple(found), from_json=False)
    return CodeSuite(
        setup=setup, tests_setup=f"{setup}\n{test}", names=(entry,), tests=(f"check({entry})",)
    )  # fmt: skip


def plain_call(test: str) -> Call | None:
    """(function, arguments, expected) of ``assert f(<literals>) == <literal>``; None for any other statement."""
    body = _tree(test).body
    if len(body) != 1 or not isinstance(body[0], ast.Assert) or not isinstance(body[0].test, ast.Compare):
        return None
    compare = body[0].test
    call, expected = compare.left, compare.comparators[0]
    if len(compare.ops) != 1 or not isinstance(compare.ops[0], ast.Eq):
        return None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
        return None
    try:
        return call.func.id, tuple(ast.literal_eval(a) for a in call.args), ast.literal_eval(expected)
    except (ValueError, TypeError):  # a name, a formula, an unhashable key
        return None


def _tree(code: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"has a test that is no Python: {error}") from error


def _loaded(code: str) -> set[str]:
    bound = _defined(code)
    return {n.id for n in ast.walk(_tree(code)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)} - bound


def _defined(code: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(_tree(code)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    return found


def _says_nothing(node: ast.stmt) -> bool:
    """A docstring, ``pass``, or an assert of a constant."""
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
