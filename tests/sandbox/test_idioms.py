"""What solutions do works as in a plain Python; what cannot work is said, never silently wrong."""

import pytest

from rrl.sandbox.job import Calls, Script
from rrl.sandbox.pool import Sandbox
from rrl.task.code.suites import Stdio
from rrl.task.code.verdict import judge
from tests.sandbox.idioms import IDIOMS, UNSUPPORTED

SETTINGS = {
    "workers": 2, "cpu_s": 4, "wall_s": 20.0, "memory_mb": 512, "output_kb": 1024, "packages": (), "package_paths": (),
    "wall": "auto", "unsafe": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def box():
    return Sandbox(**SETTINGS)


def test_ordinary_programs_end_as_in_a_plain_python(box):
    done = box.map(lambda i: box.run(Script(source=i[0], stdin=i[1])), list(IDIOMS.values()))
    wrong = {
        name: (d.how, d.status, d.stdout, d.stderr[-300:])
        for (name, (_, _, stdout)), d in zip(IDIOMS.items(), done, strict=True)
        if (d.how, d.status, d.stdout.decode()) != ("exited", 0, stdout)
    }
    assert wrong == {}
    assert {d.unsupported for d in done} == {""}


def test_what_cannot_work_is_counted_as_unsupported(box):
    suite = Stdio(cases=(("", "1\n"),))
    told = box.map(lambda s: judge(box.run, s, suite, stop_early=True, tolerance=0.0), list(UNSUPPORTED.values()))
    assert {v.kind for v in told} == {"runtime_error"}
    assert [name for name, v in zip(UNSUPPORTED, told, strict=True) if not v.unsupported] == []


def test_functions_and_methods_are_called_with_their_values(box):
    source = (
        "import collections\nheld = []\nclass Solution:\n    def f(self, x): held.append(x); return held\n"
        "def g(*a): return collections.Counter(a)"
    )
    done = box.run(
        Calls(source=source, setup="import math", calls=(("f", (1,)), ("f", ((2, "a"),)), ("g", (1, 1)), ("h", ())))
    )
    assert done.replies == (
        {"v": [1]}, {"v": [1, {"t": [2, "a"]}]}, {"v": {"d": [[1, 2]]}}, {"e": ["AttributeError",
        "'Solution' object has no attribute 'h'"]},
    )  # fmt: skip


def test_each_program_starts_afresh(box):
    spoil = (
        "import builtins, sys, math\nbuiltins.held = 1\nmath.pi = 3\nsys.modules.clear()\nimport random; random.seed(7)"
    )
    look = (
        "import builtins, math, random\nprint(hasattr(builtins, 'held'), math.pi > 3.1)\n"
        "print(hash('a'), random.random())"
    )
    [first, _, second] = [box.run(Script(source=s, stdin="")) for s in (look, spoil, look)]
    assert first.stdout == second.stdout and first.stdout.startswith(b"False True\n")


def test_how_a_program_ended_is_told_from_what_it_says(box):
    def end(source):
        done = box.run(Script(source=source, stdin=""))
        return done.how, done.status, done.compiled

    assert end("x = 1") == ("exited", 0, True)
    assert end("1 / 0") == end("import sys; sys.exit('bad')") == end("exec('x = (')") == ("exited", 1, True)
    assert end("import sys; sys.exit(7)") == ("exited", 7, True)
    assert end("x = (") == end("a = 1\n\tb = 2") == end("x = '\0'") == end("x = '\ud800'") == ("exited", 120, False)
    assert end("import os; os._exit(120)") == ("exited", 120, False)  # it only calls itself worse than it is
    assert end("import os, signal; os.abort()") == ("killed", -6, True)
