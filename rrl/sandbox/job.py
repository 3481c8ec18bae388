"""What is run, and how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from rrl.sandbox.guest import DOES_NOT_COMPILE
from rrl.sandbox.values import NotPlain, Wire, encode, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A whole program that reads ``stdin`` and writes stdout."""

    source: str
    stdin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """A program whose functions are called, each with its arguments, in one process of the program.

    setup: trusted code before it (imports).  calls: (function, arguments of builtin types)."""

    source: str
    setup: str
    calls: tuple[tuple[str, tuple[Any, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """A program, and trusted tests in a second process that call it.

    setup: trusted code before the program.  tests_setup: the same before the tests.  names: functions of the program
    that the tests call.  tests: code, one unit each; one that raises has failed."""

    source: str
    setup: str
    tests_setup: str
    names: tuple[str, ...]
    tests: tuple[str, ...]


Job = Script | Calls | Tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a job ended.

    how: "exited", "killed" (by a signal, a memory or CPU limit) or "late" (by the clock or its CPU time).
    status: exit status, or minus the signal.  stdout, stderr: what it wrote, cut at the limit.
    replies: parsed lines sent back, {"v": wire} or {"e": [type, message]}; fewer than asked where it ended before.
    cpu_s, max_rss_mb: of the program's process."""

    how: Literal["exited", "killed", "late"]
    status: int
    stdout: bytes
    stderr: bytes
    replies: tuple[Wire, ...]
    cpu_s: float
    max_rss_mb: float

    @property
    def compiled(self) -> bool:
        return not (self.how == "exited" and self.status == DOES_NOT_COMPILE)

    @property
    def unsupported(self) -> str:
        """What the program asked for that no sandbox gives (a module, a file, a process), "" where nothing. The
        program's own words, printable characters alone: they go to logs."""
        errors = [": ".join(map(str, r["e"])) for r in self.replies if isinstance(r, dict) and _is_error(r)]
        if self.how == "exited" and self.status != 0:
            # The last line may be of what failed in turn, such as the destructor of a half-made event loop.
            errors += self.stderr[-_LAST_WORDS:].decode("utf-8", "replace").splitlines()
        return next((_printable(line[:200]) for line in errors if _UNSUPPORTED.match(line)), "")


_LAST_WORDS = 8192  # bytes of stderr
# EPERM of the filter; what Python's own wrappers make of it; threads beyond the limit.
_UNSUPPORTED = re.compile(
    r"ModuleNotFoundError: No module named|\w*Error: \[Errno 1\] |FileNotFoundError: \[Errno 2\] No usable temporary|"
    r"RuntimeError: can't start new"
)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def job_files(job: Job) -> tuple[str, dict[str, Any], bytes, dict[str, Any]]:
    """(mode, what the program's process reads, its stdin, what the tester's process reads).

    The program's process never sees the last: a test holds the value that it expects."""
    if isinstance(job, Script):
        return "script", {"source": job.source}, job.stdin.encode("utf-8", "surrogatepass"), {}
    if isinstance(job, Calls):
        calls = [(name, [encode(a) for a in arguments]) for name, arguments in job.calls]
        return "calls", {"source": job.source, "setup": job.setup, "calls": calls}, b"", {}
    tests = {"setup": job.tests_setup, "names": job.names, "tests": job.tests}
    return "tests", {"source": job.source, "setup": job.setup}, b"", tests


def replies_of(written: bytes) -> tuple[Wire, ...]:
    """Whole lines up to the first that is none of ours."""
    replies = []
    for line in written.split(b"\n")[:-1]:
        try:
            reply = parse(line)
        except NotPlain:
            break
        if not isinstance(reply, dict) or len(reply) != 1 or not ("v" in reply or _is_error(reply)):
            break
        replies.append(reply)
    return tuple(replies)


def _is_error(reply: dict[str, Any]) -> bool:
    told = reply.get("e")
    return isinstance(told, list) and len(told) == 2 and all(isinstance(part, str) for part in told)
