"""What comes of a terminal, a pipe or a log that shows what was not ours, or that goes away."""

from __future__ import annotations

import logging
import os
import pty
import shlex
import signal
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from rrl.terminal import Words
from rrl.typed import typed


def test_a_log_line_shows_an_escape_and_keeps_its_lines() -> None:
    record = logging.LogRecord("rrl", logging.ERROR, "", 0, "bad answer %s\n", ("\x1b]0;title\x07\x1b[2J",), None)
    assert Words("%(message)s").format(record) == "bad answer \u241b]0;title\u2407\u241b[2J\n"


def test_a_traceback_shows_escapes_too() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record = logging.LogRecord("rrl", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    text = Words("%(message)s").format(record)
    assert "\x1b" not in text and text.endswith("ValueError: \u241b[2J") and "\n" in text


def python(code: str, tail: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {tail}', sys.executable, code], capture_output=True, text=True, timeout=60
    )


PRINTS = """
import logging, sys, time
from rrl.terminal import Lines, screen
logging.basicConfig(handlers=[Lines(sys.stdout)])
print("first", flush=True)
time.sleep(0.5)  # until the reader has gone
{first}
{second}
sys.stderr.write("goes on")
"""
PRINTED = """
try:
    screen().print("a table")
except BrokenPipeError as error:
    sys.stderr.write(f"{error}; ")
"""
LOGGED = "logging.error('a line')\nlogging.error('another')"


@pytest.mark.parametrize(("first", "second"), [(PRINTED, LOGGED), (LOGGED, PRINTED)])
def test_a_reader_that_goes_away_ends_no_process(first: str, second: str) -> None:
    done = python(PRINTS.format(first=first, second=second), "| head -n 1")
    assert done.stdout == "first\n" and "Traceback" not in done.stderr and "Logging error" not in done.stderr
    assert done.stderr.endswith("goes on")
    assert ("nobody reads standard output any more" in done.stderr) == (first is PRINTED)


def test_a_process_without_streams_gets_some_that_no_file_of_ours_can_take_the_place_of() -> None:
    code = "from rrl.terminal import open_streams\nimport os, sys\nopen_streams()\nprint('x' * 9999)\n" \
           "sys.exit(os.open('/dev/null', 0))"  # fmt: skip
    assert python(code, ">&- <&-").returncode == 3
    assert python(code, ">&- <&- 2>&-").returncode == 3


PATHS = ["/a/b", "/my runs/a", "/\u6f22", "/q'uo\"te", "/br{x}[1]", "/d$x`!", ";", "eq=x", "a,b", "~t", "back\\slash",
         "end\\", "x\\'y", "new\nline", "#h", "-d", "null", "1e5", "*"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_command_that_is_shown_can_be_typed(path: str) -> None:
    program, word = shlex.split(typed("rrl-train", "resume", path))
    override = OverridesParser.create().parse_override(word)
    assert (program, override.key_or_group, override.value()) == ("rrl-train", "resume", path)


def test_a_plain_path_is_not_quoted() -> None:
    assert typed("rrl-eval", "checkpoint", "/runs/2026-01-31/a_b") == "rrl-eval checkpoint=/runs/2026-01-31/a_b"
    assert typed("rrl-eval", "checkpoint", "/my runs") == "rrl-eval \"checkpoint='/my runs'\""


def test_a_terminal_that_is_closed_ends_no_process() -> None:
    code = PRINTS.format(first=LOGGED, second="open(3, 'w').write('goes on')").replace("sys.stderr.write", "print")
    reads, writes = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.dup2(writes, 3)
        os.execv(sys.executable, [sys.executable, "-c", code])
    os.close(writes)
    said = b""
    while not said.endswith(b"\n"):
        said += os.read(terminal, 100)
    os.close(terminal)
    with open(reads) as told:
        assert told.read() == "goes on"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
