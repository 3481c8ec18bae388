"""What a locked child runs: a whole program, a program whose functions are called, or tests that call from outside.

Nothing here decides a verdict about the program in the same process; see ``rrl/sandbox/README.md``.
"""

from __future__ import annotations

import atexit
import builtins
import json
import os
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

from rrl.sandbox.values import NotPlain, decode, encode, parse

DOES_NOT_COMPILE = 120
"""Exit status of a program that is no Python. One that exits so by itself only calls itself worse than it is."""
_LONGEST_LINE = 1 << 20
_MESSAGE = 300


def run_script(job: dict[str, Any]) -> int:
    """A program that reads stdin and writes stdout, as ``python program.py``. Returns its exit status."""
    return _guarded(lambda: _execute(job["source"], _module("__main__")))


def run_calls(job: dict[str, Any], results: int) -> int:
    """Defines the program, then calls its functions; what each returns goes to ``results`` as one line."""
    module = _module("solution")

    def work() -> None:
        _execute(job["setup"], module)
        _execute(job["source"], module)
        for name, arguments in job["calls"]:
            _say(results, _called(module, name, arguments, {}))

    return _guarded(work)


def run_solver(job: dict[str, Any], questions: int, replies: int) -> int:
    """Defines the program, then answers the calls of a tester in another process."""
    module = _module("solution")

    def work() -> None:
        _execute(job["setup"], module)
        _execute(job["source"], module)
        _say(replies, {"ready": True})
        for question in _lines(questions):
            name, arguments, keywords = question
            _say(replies, _called(module, name, arguments, dict(keywords)))

    return _guarded(work)


def run_tester(tests: dict[str, Any], replies: int, questions: int, results: int) -> int:
    """Runs trusted tests; ``tests["names"]`` are functions of the program, called in its own process."""
    module, answers = _module("tests"), _lines(replies)
    if next(answers, None) != {"ready": True}:
        return 1  # the program could not be defined; its own process says why
    _execute(tests["setup"], module)
    for name in tests["names"]:
        setattr(module, name, _remote(name, questions, answers))
    for test in tests["tests"]:
        try:
            _execute(test, module)
        except BaseException as error:  # noqa: BLE001 - whatever a test raises, it has failed
            _say(results, {"e": [type(error).__name__, str(error)[:_MESSAGE]]})
        else:
            _say(results, {"v": True})
    return 0


# ------------------------------------------------------------------------------------------ one program


def _module(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    return module


def _execute(source: str, module: types.ModuleType) -> None:
    exec(compile(source, "<program>", "exec", dont_inherit=True), module.__dict__)


def _guarded(work: Callable[[], None]) -> int:
    """Exit status of ``work`` as Python itself would give it: threads are waited for, exit handlers run, output goes
    out."""
    status = 0
    try:
        work()
    except SystemExit as stop:
        status = _status(stop.code)
    except BaseException as error:  # noqa: BLE001 - whatever a program raises, it is told on its stderr
        status = DOES_NOT_COMPILE if _is_no_python(error) else 1
        traceback.print_exc()
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except BaseException:  # noqa: BLE001 - a full stdout, or a program that replaced these functions
        status = status or 1
    return status


def _is_no_python(error: BaseException) -> bool:
    """Raised by ``compile`` and not by what ran: no frame of the program is in its traceback."""
    at, frames = error.__traceback__, []
    while at is not None:
        frames.append(at.tb_frame.f_code.co_filename)
        at = at.tb_next
    return "<program>" not in frames


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)  # noqa: T201 - as Python does
    return 1


def _called(module: types.ModuleType, name: str, arguments: list[Any], keywords: dict[str, Any]) -> dict[str, Any]:
    try:
        values = [decode(a) for a in arguments]
        return {"v": encode(_function(module, name)(*values, **{k: decode(v) for k, v in keywords.items()}))}
    except BaseException as error:  # noqa: BLE001 - also SystemExit: a program that leaves has returned nothing
        return {"e": [type(error).__name__, str(error)[:_MESSAGE]]}


def _function(module: types.ModuleType, name: str) -> Callable[..., Any]:
    """``name`` at the top of the program, or a method of its class Solution."""
    found = module.__dict__.get(name)
    if found is None and "Solution" in module.__dict__:
        found = getattr(module.__dict__["Solution"](), name)
    if found is None:
        raise NameError(f"name {name!r} is not defined")
    function: Callable[..., Any] = found
    return function


# ------------------------------------------------------------------------------------------ between two processes


def _remote(name: str, questions: int, answers: Iterator[Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        sent, named = [encode(a) for a in arguments], [[k, encode(v)] for k, v in keywords.items()]
        if any("x" in a for a in (*sent, *(v for _, v in named)) if isinstance(a, dict)):
            raise NotPlain(f"{name} is given what is no plain value")
        _say(questions, [name, sent, named])
        reply = next(answers, None)
        if not isinstance(reply, dict) or len(reply) != 1:
            raise RuntimeError("the program ended or spoke out of turn")
        if "v" in reply:
            return decode(reply["v"])
        raise _raised(reply.get("e"))

    call.__name__ = name
    return call


def _raised(told: Any) -> Exception:
    """The builtin exception of that name, for tests that expect one; anything else is a RuntimeError."""
    kind, message = told if isinstance(told, list) and len(told) == 2 else ("?", "?")
    known = getattr(builtins, kind, None) if isinstance(kind, str) else None
    if isinstance(known, type) and issubclass(known, Exception) and not issubclass(known, UnicodeError):
        error: Exception = known(message)
        return error
    return RuntimeError(f"{kind}: {message}")


def _lines(descriptor: int) -> Iterator[Any]:
    """Parsed lines until the end of the stream, or until one is too long or is no JSON."""
    held = b""
    while True:
        line, newline, rest = held.partition(b"\n")
        if newline:
            held = rest
            try:
                yield parse(line)
            except NotPlain:
                return
            continue
        part = os.read(descriptor, 1 << 16)
        if not part or len(held) > _LONGEST_LINE:
            return
        held += part


def _say(descriptor: int, message: Any) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]
