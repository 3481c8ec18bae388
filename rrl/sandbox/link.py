"""One zygote as the trainer sees it: started by exec, asked one job at a time, ended with the pool."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from rrl.sandbox.job import Finished, Job, Tests, job_files, replies_of
from rrl.sandbox.lock import NOBODY, Limits
from rrl.sandbox.packet import FILES, JOB, RESULTS, STDERR, STDIN, STDOUT, TESTS

_START_S = 60.0  # its imports; about half a second on an idle machine
_GRACE_S = 30.0  # a zygote kills at the wall limit; only a stopped or starved one is later than this
_ENVIRONMENT = {"PATH": "/usr/bin", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


class ZygoteLost(RuntimeError):
    """A zygote did not start, ended or fell silent: nothing is known about the program that it ran."""


class Link:
    """A running zygote.

    Args:
      command: starts it; ``{fd}`` stands for its socket.
      as_nobody: it runs as the user nobody from its first instruction; needs root.
    Raises:
      ZygoteLost: it cannot be started; why.
    """

    def __init__(self, command: Sequence[str], *, as_nobody: bool) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        said = os.memfd_create("zygote")
        user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if as_nobody else {}
        try:
            self._process = subprocess.Popen(
                [word.replace("{fd}", str(theirs.fileno())) for word in command], stdin=subprocess.DEVNULL,
                stdout=said, stderr=said, env=_ENVIRONMENT, cwd="/", pass_fds=(theirs.fileno(),), **user,
            )  # fmt: skip
            theirs.close()
            first = self._packet(_START_S)
            if "ready" not in first:
                raise ZygoteLost(first["error"])
        except (OSError, ZygoteLost) as error:
            self.close()
            raise ZygoteLost(f"{error} {_read(said, 2000).decode('utf-8', 'replace').strip()}".strip()) from error
        finally:
            os.close(said)
            theirs.close()
        self.landlock_abi: int = first["ready"]["landlock"]

    def run(self, job: Job, limits: Limits) -> Finished:
        """Raises ZygoteLost; the link is of no use then."""
        mode, program, stdin, tests = job_files(job)
        files = [os.memfd_create(name) for name in FILES[mode]]
        try:
            _write(files[JOB], json.dumps(program).encode())
            _write(files[STDIN], stdin)
            if tests:
                _write(files[TESTS], json.dumps(tests).encode())
            asked = {key: getattr(limits, key) for key in Limits.__slots__}
            try:
                socket.send_fds(self._socket, [json.dumps({"mode": mode, "limits": asked}).encode()], files)
            except OSError as error:
                raise ZygoteLost(f"the zygote is gone: {error}") from error
            ended: list[dict[str, Any]] = self._packet(limits.wall_s + _GRACE_S)
            size = limits.output_kb << 10
            stdout, stderr = _read(files[STDOUT], size), _read(files[STDERR], size)
            replies = replies_of(_read(files[RESULTS], size)) if len(files) > RESULTS else ()
            return _finished(ended, limits, stdout, stderr, replies, isinstance(job, Tests))
        finally:
            for file in files:
                os.close(file)

    def close(self) -> None:
        """Ends the zygote and what it runs."""
        self._socket.close()
        process = getattr(self, "_process", None)
        if process is not None:
            process.kill()
            process.wait()

    def _packet(self, timeout_s: float) -> Any:
        if not select.select([self._socket], [], [], timeout_s)[0]:
            raise ZygoteLost(f"the zygote said nothing for {timeout_s:.0f} s")
        try:
            packet = self._socket.recv(1 << 16)
        except OSError as error:
            raise ZygoteLost(f"the zygote is gone: {error}") from error
        if not packet:
            raise ZygoteLost("the zygote ended.")
        return json.loads(packet)


def _finished(
    ended: list[dict[str, Any]], limits: Limits, stdout: bytes, stderr: bytes, replies: tuple[Any, ...], tested: bool
) -> Finished:
    program = ended[0]
    status: int = program["status"]
    # The kernel's count of CPU and the one reported differ by ticks; only the limit sends SIGXCPU.
    spent = status == -signal.SIGXCPU or (status == -signal.SIGKILL and program["cpu_s"] >= limits.cpu_s)
    late = program["late"] or spent or (tested and ended[1]["late"])
    return Finished(
        how="late" if late else "killed" if status < 0 else "exited", status=status, stdout=stdout, stderr=stderr,
        replies=replies, cpu_s=program["cpu_s"], max_rss_mb=program["max_rss_mb"],
    )  # fmt: skip


def _write(file: int, content: bytes) -> None:
    view = memoryview(content)
    at = 0
    while at < len(view):
        at += os.pwrite(file, view[at:], at)


def _read(file: int, most: int) -> bytes:
    return os.pread(file, min(most, os.fstat(file).st_size), 0)
