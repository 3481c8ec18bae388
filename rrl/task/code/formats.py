"""Records of published data sets of programming problems as rows: APPS and APPS+, MBPP, HumanEval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rrl.reading import json_of
from rrl.task.code.asserts import check_suite, suite_of
from rrl.task.code.extract import fenced
from rrl.task.code.suites import CallSuite, Stdio, Suite
from rrl.task.data.row import Row

Record = dict[str, Any]


def apps(where: str, record: Record, shown_tests: int) -> Row:
    """APPS: ``question``, ``solutions``, ``input_output`` (texts of JSON), ``starter_code``, ``difficulty``. APPS+ has
    ``inputs``, ``outputs``, ``fn_name`` and ``canonical_solution`` beside the question.

    Raises ValueError, KeyError or TypeError for what is neither."""
    del shown_tests  # the question gives its own examples
    held = _json(record.get("input_output")) or record
    inputs, outputs = _json(held["inputs"]) or [], _json(held["outputs"]) or []
    if len(inputs) != len(outputs) or not inputs:
        raise ValueError(f"has {len(inputs)} inputs and {len(outputs)} outputs")
    name = held.get("fn_name") or ""
    suite: Suite
    if name:
        calls = tuple((name, tuple(_json(i)), _json(o)) for i, o in zip(inputs, outputs, strict=True))
        suite = CallSuite(setup=_LEETCODE, calls=calls, from_json=True)
        how = f"Define {name}."
    else:
        suite = Stdio(cases=tuple((_lines(i), _lines(o)) for i, o in zip(inputs, outputs, strict=True)))
        how = "Read from standard input and write to standard output."
    starter = (record.get("starter_code") or "").strip("\n")
    solutions = _json(record.get("solutions")) or []
    prompt = "\n".join(part for part in (record["question"].strip(), how, starter) if part)
    solution = record.get("canonical_solution") or (solutions[0] if solutions else None)
    return _row(where, prompt, solution, suite, record.get("difficulty"))


def mbpp(where: str, record: Record, shown_tests: int) -> Row:
    """MBPP: ``text`` (or ``prompt``), ``code``, ``test_list``, ``challenge_test_list``, ``test_setup_code`` (or
    ``test_imports``). The prompt shows the first ``shown_tests`` tests, for they name the function."""
    tests = [*record["test_list"], *(record.get("challenge_test_list") or [])]
    setup = "\n".join(record.get("test_imports") or [])
    suite = suite_of(tests, setup=setup, tests_setup=record.get("test_setup_code") or "")
    said = (record.get("text") or record["prompt"]).strip()
    shown = "\n".join(test.strip() for test in tests[:shown_tests])
    prompt = f"{said}\nYour code must pass tests such as:\n{shown}" if shown else said
    return _row(where, prompt, record["code"], suite, None)


def humaneval(where: str, record: Record, shown_tests: int) -> Row:
    """HumanEval: ``prompt`` (a function without its body), ``canonical_solution`` (the body), ``test``,
    ``entry_point``. A response writes the whole function."""
    del shown_tests  # the docstring gives its own examples
    prompt, entry = record["prompt"], record["entry_point"]
    before, _, _ = prompt.rpartition(f"def {entry}(")
    suite = check_suite(record["test"], entry=entry, setup=before)
    asked = f"Complete this function; write all of it.\n{fenced(prompt)}"
    return _row(where, asked, prompt + record["canonical_solution"], suite, None)


FORMATS: dict[str, Callable[[str, Record, int], Row]] = {"apps": apps, "mbpp": mbpp, "humaneval": humaneval}

_LEETCODE = "from typing import *\nimport collections, functools, heapq, itertools, math, string"
"""What that site puts before a program, and solutions to its problems rely on."""


def _row(where: str, prompt: str, code: str | None, suite: Suite, level: str | None) -> Row:
    code = (code or "").replace("\r\n", "\n").replace("\t", "    ").strip("\n")
    return Row(
        where=where, prompt=prompt, answer=code, solution=fenced(code) if code else None, hard=True,
        entry={"suite": suite, "level": level},
    )  # fmt: skip


def _json(held: Any) -> Any:
    """Text of JSON is read; anything else is taken as it stands."""
    if not isinstance(held, str) or not held.strip():
        return held or None
    try:
        return json_of(held)
    except ValueError:
        return held


def _lines(held: Any) -> str:
    """APPS writes some inputs as a list of lines."""
    if isinstance(held, list):
        return "\n".join(map(str, held)) + "\n"
    if not isinstance(held, str):
        raise ValueError(f"has a {type(held).__name__} as input or output of a program; expected text")
    return held
