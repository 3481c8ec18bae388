"""Verdicts from a process of its own, which dies when it takes too long.

Symbolic verifiers hang on some answers (a tower of powers), inside C code where no Python signal handler runs, and
those that stop themselves by SIGALRM refuse to run outside the main thread. Some call ``eval`` on what a model wrote.
So they run in one worker process: a timer of the kernel ends it at its deadline, a new one is started for the next
question, and what it answers is one number as text, never an object.
"""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import pickle
import select
import struct
import subprocess
import sys
import threading
import time
from typing import IO, Any

log = logging.getLogger(__name__)

_GRACE_S = 1.0  # the worker's own timer is the first to fire
_IMPORTS_S = 120.0  # of a verifier; about one second on an idle machine


class Judge:
    """Calls one module's functions in a worker process. Thread-safe; a forked process starts a worker of its own.

    Args:
      module: a verifier of ours; the worker imports it, this process does not.
      memory_mb: address space of the worker; more is refused to it, and the answer that asked for it is not judged.
    """

    def __init__(self, *, module: str, memory_mb: int) -> None:
        self._module, self._memory_mb = module, memory_mb
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._owner = -1
        self._told: set[str] = set()
        self.unjudged = 0
        """Questions that ended without a verdict, so far."""

    def ask(self, verdict: str, *arguments: Any, timeout_s: float) -> float | None:
        """What ``verdict`` returns for ``arguments``; None where it took too long, raised or ran out of memory.

        Args:
          verdict: name of a function of the module; it returns one number.
          arguments: plain objects that can be pickled.
          timeout_s: seconds, > 0; a fresh worker's imports are not counted.
        Raises:
          RuntimeError: the worker cannot be started, or cannot import the module.
        """
        with self._lock:
            worker = self._started()
            try:
                _send(worker, (verdict, arguments, timeout_s))
                reply = _reply(worker, timeout_s + _GRACE_S)
            except BaseException:  # a time limit or Ctrl-C: the next question must not get this one's answer
                self._stop()
                raise
            if reply is None:
                self._stop()
                reply = {"error": f"no verdict within {timeout_s} s, or the worker died"}
            if "score" in reply:
                return float(reply["score"])
            self.unjudged += 1
            kind = reply["error"].partition(":")[0]
            if kind not in self._told:  # a policy that learns may answer nonsense thousands of times
                self._told.add(kind)
                log.warning("%s.%s%r: %s; counted as wrong, and so will be others, in silence",
                            self._module, verdict, _short(arguments), reply["error"])  # fmt: skip
            return None

    def close(self) -> None:
        """End the worker; the next question starts another."""
        with self._lock:
            self._stop()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._worker is not None and self._owner == os.getpid() and self._worker.poll() is None:
            return self._worker
        code = f"from rrl.task.grade.worker import serve; serve({self._module!r}, {self._memory_mb})"
        self._worker = subprocess.Popen(
            [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._owner = os.getpid()
        reply = _reply(self._worker, _IMPORTS_S)  # its first word: the verifier is there
        if reply is None or "error" in reply:
            self._stop()
            why = (reply or {}).get("error", "it ended at once")
            raise RuntimeError(f"the verifier's process cannot be used: {why}")
        return self._worker

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None or self._owner != os.getpid():
            return
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                pipe.close()


@functools.cache
def shared(module: str, memory_mb: int) -> Judge:
    """One judge a process, verifier and memory limit: imports are paid once, however many tasks are built."""
    judge = Judge(module=module, memory_mb=memory_mb)
    atexit.register(judge.close)
    return judge


def _send(worker: subprocess.Popen[bytes], question: tuple[Any, ...]) -> None:
    payload = pickle.dumps(question)
    assert worker.stdin is not None
    try:
        worker.stdin.write(struct.pack("<Q", len(payload)) + payload)
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # it has died; the reply says so


def _reply(worker: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any] | None:
    """One line of JSON; None at the deadline or at the end of the stream."""
    pipe: IO[bytes] | None = worker.stdout
    assert pipe is not None
    line, end = b"", time.monotonic() + timeout_s
    while not line.endswith(b"\n"):
        if not select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            return None
        part = os.read(pipe.fileno(), 4096)
        if not part:
            return None
        line += part
    reply: dict[str, Any] = json.loads(line)
    return reply


def _short(arguments: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(text if len(text := repr(a)) <= 80 else text[:77] + "..." for a in arguments)
