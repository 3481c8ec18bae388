"""Cases of ours for what math-verify is asked to do; its own cases in the slow test."""

import importlib
import importlib.machinery
import inspect
import subprocess
import sys
import tarfile

import pytest

from rrl.task.data.row import Row
from rrl.task.grade.judge import shared
from rrl.task.grade.math import MathGrader

EQUAL = [
    # fractions and decimals
    (r"\frac{1}{2}", "0.5"), (r"\frac12", "1/2"), (r"\dfrac{3}{4}", r"\frac{6}{8}"), (r"-\frac{1}{2}", "-0.5"),
    (r"\frac{5}{6}", r"\frac{5}{6}"), ("0.75", r"\frac{3}{4}"), (r"1\frac{1}{2}", r"\frac{3}{2}"),
    # signs, commas, powers
    ("-5", "- 5"), ("1,000", "1000"), ("10{,}000", "10000"), ("1024", "2^{10}"), (r"1.5\times 10^3", "1500"),
    # percent and units
    (r"25\%", "25"), ("25", r"25\%"), (r"25\%", "25%"), ("25", "25 percent"), ("5", r"5\text{ cm}"),
    (r"5\text{ cm}^2", "5"), (r"90^\circ", "90"), (r"\$18", "18"),
    # radicals, constants, polynomials
    (r"5\sqrt{2}", r"\sqrt{50}"), (r"9\pi", r"3\cdot 3\pi"), ("x^2+2x+1", "(x+1)^2"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
    # intervals, sets, points, matrices
    (r"[2,\infty)", r"[2, \infty)"), (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,2)"), ("2,3", "3,2"),
    (r"\{1,2\}", r"\{2,1\}"), ("(1,2)", "(1, 2)"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    # equations and words
    ("3", "x = 3"), ("x=3", "3"), (r"\text{Tuesday}", "Tuesday"), (r"\text{(A)}", "A"), ("B", "B"),
]  # fmt: skip
DIFFERENT = [
    (r"\frac{1}{2}", "0.4"), (r"\frac{1}{3}", "0.33"), ("5", "-5"), ("1,000", "100"), ("25", "0.25"), ("25", "26"),
    (r"5\sqrt{2}", r"2\sqrt{5}"), ("x^2+2x+1", "x^2+1"), (r"[2,\infty)", r"(2,\infty)"), ("(1,2)", "(2,1)"),
    ("2,3", "2"), ("2,3", "2,3,4"), ("A", "B"), (r"\text{Tuesday}", "Monday"), ("12", "12.01"),
    ("3", ""), ("3", "1,2,3"), ("7", "8"),
]  # fmt: skip


@pytest.fixture(scope="module")
def grader():
    return MathGrader(marks=("boxed",), timeout_s=5.0, memory_mb=2048)


def row(answer):
    return Row(where="f:1", prompt="?", answer=answer, solution=None, hard=True, entry={})


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal_mathematics_is_solved(grader, gold, answer):
    assert grader.grade(row(gold), f"so it is $\\boxed{{{answer}}}$.") == (1.0, True)


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_other_mathematics_is_not(grader, gold, answer):
    assert grader.grade(row(gold), f"so it is $\\boxed{{{answer}}}$.") == (0.0, False)


def test_only_the_marked_answer_counts(grader):
    assert not grader.grade(row("3"), "It is 3.").solved
    assert not grader.grade(row("3"), r"\boxed{3} or rather \boxed{4}").solved
    assert grader.grade(row("3"), r"\boxed{4} or rather \boxed{3}").solved


def test_a_list_of_guesses_is_neither_right_nor_asked_about(grader):
    guesses = ",".join(str(i) for i in range(300))
    assert not grader.grade(row("3"), f"\\boxed{{{guesses}}}").solved


def test_a_gold_answer_that_cannot_be_read_is_a_flaw(grader):
    assert grader.flaw(row(r"\frac{1}{2}")) == "" and grader.flaw(row("no solution")) == ""
    assert "which math-verify cannot read" in grader.flaw(row(""))


def test_a_tower_of_powers_ends_at_the_deadline_is_wrong_and_is_counted_once(caplog):
    grader = MathGrader(marks=("boxed",), timeout_s=0.5, memory_mb=1024)
    before = grader.unjudged
    tower = r"\boxed{9^{9^{9^{9}}}+1}"
    assert [grader.grade(row("5"), tower).solved for _ in range(2)] == [False, False]
    assert grader.unjudged == before + 1 and "counted as wrong" in caplog.text
    assert grader.grade(row("5"), r"\boxed{5}").solved  # with a worker of its own again


@pytest.mark.parametrize(("changes", "words"), [
    ({"timeout_s": 0.0}, "timeout_s 0.0"), ({"memory_mb": 10}, "memory_mb 10"), ({"marks": ()}, "task.grader.marks"),
])  # fmt: skip
def test_impossible_arguments_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        MathGrader(**({"marks": ("boxed",), "timeout_s": 5.0, "memory_mb": 2048} | changes))


@pytest.mark.slow
def test_the_verifiers_own_cases_come_out_as_it_says(tmp_path, monkeypatch):
    # They are in its source distribution only. Those that ask for prose around an answer, for rounding or for a decimal
    # comma are not ours to ask: our marks cut the answer out first.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "math-verify==0.9.0"]
    if subprocess.run([*command, "-d", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("no package index to fetch math-verify's source distribution from")
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    own = next(tmp_path.glob("math_verify-*/tests"))
    monkeypatch.setitem(sys.modules, "tests", importlib.util.module_from_spec(
        importlib.machinery.ModuleSpec("tests", None, is_package=True)))  # fmt: skip
    sys.modules["tests"].__path__ = [str(own)]
    cases = []
    for name in ("test_all", "test_boxed", "test_numina_cases", "test_open_thoughts", "test_gamma_func"):
        for _, test in inspect.getmembers(importlib.import_module(f"tests.{name}"), inspect.isfunction):
            for mark in getattr(test, "pytestmark", []):
                names = mark.args[0] if mark.name == "parametrize" else ""
                if [n.strip() for n in (names.split(",") if isinstance(names, str) else names)][:3] == [
                    "gold", "pred", "expected"]:  # fmt: skip
                    cases += [case[:3] for case in mark.args[1]]
        sys.modules.pop(f"tests.{name}")
    judge = shared("rrl.task.grade.math_verdict", 2048)
    said = [judge.ask("equal", _bare(gold), _bare(pred), timeout_s=10.0) == 1.0 for gold, pred, _ in cases]
    wrong = [case for case, solved in zip(cases, said, strict=True) if solved and not case[2]]
    assert len(cases) > 240 and len(wrong) <= 1, wrong  # the one: a line break inside \( \)
    assert sum(solved == bool(case[2]) for case, solved in zip(cases, said, strict=True)) >= 0.94 * len(cases)


def _bare(text):
    text = text.strip()
    for fence in ("$$", "$"):
        if text.startswith(fence) and text.endswith(fence) and text.count("$") == 2 * len(fence):
            return text[len(fence) : -len(fence)]
    return text
