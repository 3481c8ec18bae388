"""Is there a wall? Asked by attacking it, each time a pool starts: a version number proves nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rrl.sandbox.job import Finished, Job, Script
from rrl.sandbox.lock import Limits
from rrl.sandbox.syscalls import NUMBERS

_LIMITS = Limits(cpu_s=2, wall_s=4.0, memory_mb=256, output_kb=64, tasks=32)
_THROUGH = b"<through>"

# Each tries one thing and says so if it could. Raw calls, so that no wrapper of Python's is what refuses.
_ATTEMPTS = {
    "reads a file": "open('/etc/passwd').read()",
    "reads the environment of process 1": "open('/proc/1/environ').read()",
    "reads the trainer's environment": "open('/proc/{trainer}/environ').read()",
    "lists a folder": "os.listdir('/')",
    "sees that a file is there": "os.stat('/etc/passwd')",
    "writes a file": "open('{outside}', 'w').write('x')",
    "opens an internet socket": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "opens a unix socket": "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
    "forks": "os.fork() or os._exit(0)",
    "forks by a raw call": "raised(libc.syscall({clone}, 17, 0, 0, 0, 0)) or os._exit(0)",
    "signals its zygote": "os.kill(os.getppid(), 0)",
    "signals the trainer": "os.kill({trainer}, 0)",
    "traces the trainer": "raised(libc.ptrace(16, {trainer}, 0, 0))",
    "makes a namespace": "raised(libc.unshare(0x10000000))",
    "makes a file in memory": "os.memfd_create('x')",
    "starts a program": "os.execv('/bin/sh', ['sh', '-c', 'echo started-it'])",  # last: nothing comes after it
}
_PROGRAM = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def raised(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result
for attempt in {attempts!r}:
    try:
        eval(attempt)
    except OSError:
        continue
    os.write(1, b"<through>" + attempt.encode() + b"\\n")
"""
_MEMORY = "held = []\nwhile True: held.append(bytearray(1 << 24))"
_LOOP = "while True: pass"
_THREADS = """
import threading, time
threading.stack_size(32768)
try:
    for _ in range(1000):
        threading.Thread(target=time.sleep, args=(0.5,), daemon=True).start()
except (RuntimeError, MemoryError):
    pass
print(threading.active_count())
"""
_MANY_THREADS = 8  # times as many as it may; other processes of the user come and go
_OUTPUT = "import os\nwhile True: os.write(1, bytes(1 << 16))"


def breaches(run: Callable[[Job, Limits], Finished]) -> list[str]:
    """What got through the wall behind ``run``, in words; [] = it holds.

    Raises:
      ZygoteLost: an attack ended the zygote.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # permissions are not what shall refuse
        outside = Path(folder) / "written"
        here = {"outside": outside, "trainer": os.getpid(), "clone": NUMBERS[os.uname().machine]["clone"]}
        filled = {what: how.format(**here) for what, how in _ATTEMPTS.items()}
        done = run(Script(source=_PROGRAM.format(attempts=list(filled.values())), stdin=""), _LIMITS)
        found = [what for what, how in filled.items() if _THROUGH + how.encode() in done.stdout]
        found += ["starts a program"] if b"started-it" in done.stdout else []
        found += ["writes a file"] if outside.exists() and "writes a file" not in found else []
    if found:
        return found
    if done.status != 0:
        return [f"cannot run at all: {_last_line(done)}"]
    return _limits_broken(run)


def _limits_broken(run: Callable[[Job, Limits], Finished]) -> list[str]:
    found = []
    echo = run(Script(source="print(int(input()) + 1)", stdin="41\n"), _LIMITS)
    if echo.stdout != b"42\n" or echo.status != 0:
        found.append(f"does not run as it should: {_last_line(echo)}")
    if run(Script(source=_LOOP, stdin=""), replace(_LIMITS, wall_s=0.2)).how != "late":
        found.append("runs for ever")
    memory = run(Script(source=_MEMORY, stdin=""), _LIMITS)
    if memory.max_rss_mb > 2 * _LIMITS.memory_mb or memory.status == 0:
        found.append("takes more memory than it may")
    threads = run(Script(source=_THREADS, stdin=""), _LIMITS).stdout
    if not threads.strip().isdigit() or int(threads) > _MANY_THREADS * _LIMITS.tasks:
        found.append("starts more threads than it may")
    if len(run(Script(source=_OUTPUT, stdin=""), _LIMITS).stdout) > _LIMITS.output_kb << 10:
        found.append("writes more than it may")
    return found


def _last_line(done: Finished) -> str:
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1][:300] if said else f"{done.how} with status {done.status}"
