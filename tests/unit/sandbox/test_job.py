"""What travels with a job, and what its replies may be."""

import json

from rrl.sandbox import job as jobs
from rrl.sandbox.job import Calls, Finished, Script, job_files, replies_of


def finished(**changes):
    held = {"how": "exited", "status": 0, "stdout": b"", "stderr": b"", "replies": (), "cpu_s": 0.0, "max_rss_mb": 0.0}
    return Finished(**held | changes)


def test_the_program_of_tests_is_sent_without_them():
    job = jobs.Tests(
        source="def f(): 1", setup="import a", tests_setup="import b", names=("f",), tests=("assert f() == 7",)
    )
    mode, program, stdin, tests = job_files(job)
    assert (mode, program, stdin) == ("tests", {"source": "def f(): 1", "setup": "import a"}, b"")
    assert tests == {"setup": "import b", "names": ("f",), "tests": ("assert f() == 7",)}


def test_calls_are_sent_with_their_arguments_alone():
    mode, program, _, tests = job_files(Calls(source="s", setup="", calls=(("f", ((1, 2.0), "a")),)))
    assert (mode, tests) == ("calls", {})
    assert json.loads(json.dumps(program["calls"])) == [["f", [{"t": [1, {"f": "0x1.0000000000000p+1"}]}, "a"]]]


def test_a_script_is_sent_with_its_stdin_whatever_it_holds():
    assert job_files(Script(source="s", stdin="\ud800é"))[2] == b"\xed\xa0\x80\xc3\xa9"


def test_replies_end_at_the_first_line_that_is_none():
    good, error = b'{"v": 1}\n', b'{"e": ["ValueError", "x"]}\n'
    assert replies_of(good + error) == ({"v": 1}, {"e": ["ValueError", "x"]})
    for bad in (
        b"{}\n",
        b"[1]\n",
        b'{"v": 1, "e": 2}\n',
        b'{"e": "x"}\n',
        b'{"e": ["a", 1]}\n',
        b"\n",
        b"7\n",
        b"\xff\n",
    ):
        assert replies_of(good + bad + good) == ({"v": 1},)
    assert replies_of(good + b'{"v": 2}') == ({"v": 1},)  # not a whole line


def test_what_no_sandbox_gives_is_told_from_what_is_wrong():
    def of(text, **changes):
        return finished(status=1, stderr=text.encode(), **changes).unsupported

    assert (
        of("Traceback\nModuleNotFoundError: No module named 'pandas'\n")
        == "ModuleNotFoundError: No module named 'pandas'"
    )
    assert of("PermissionError: [Errno 1] Operation not permitted: 'x'").startswith("PermissionError")
    assert of("RuntimeError: can't start new thread") and of(
        "FileNotFoundError: [Errno 2] No usable temporary directory"
    )
    assert of("ValueError: x") == of("") == of("FileNotFoundError: [Errno 2] No such file") == ""
    assert finished(stderr=b"ModuleNotFoundError: No module named 'x'").unsupported == ""  # it went on without
    told = finished(replies=({"v": 1}, {"e": ["ModuleNotFoundError", "No module named 'x'"]}))
    assert told.unsupported == "ModuleNotFoundError: No module named 'x'"


def test_a_programs_words_cannot_paint_a_terminal():
    told = finished(status=1, stderr=b"ModuleNotFoundError: No module named '\x1b[2J\x07\xe2\x80\xae'").unsupported
    assert told == "ModuleNotFoundError: No module named '?[2J??'"
