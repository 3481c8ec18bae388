"""Verdicts and scores from ended jobs, by hand; nothing is run."""

from collections import Counter

import pytest

from rrl.sandbox.job import Finished
from rrl.sandbox.link import ZygoteLost
from rrl.sandbox.values import encode
from rrl.task.code.grader import CodeGrader
from rrl.task.code.suites import CallSuite, CodeSuite, Stdio
from rrl.task.code.verdict import judge, same_output
from rrl.task.data.row import Row


def finished(stdout="", how="exited", status=0, replies=(), stderr=""):
    return Finished(
        how=how,
        status=status,
        stdout=stdout.encode(),
        stderr=stderr.encode(),
        replies=tuple(replies),
        cpu_s=0.0,
        max_rss_mb=0.0,
    )


LATE = finished(how="late", status=-9)
CRASH = finished(how="killed", status=-11)
NO_PYTHON = finished(status=120)
STDIO = Stdio(cases=(("1", "a"), ("2", "b"), ("3", "c")))


class Script:
    """Ends jobs as told, in order."""

    fingerprint, record = "script", {}

    def __init__(self, *ends):
        self.ends, self.jobs = list(ends), []

    def run(self, job):
        self.jobs.append(job)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def map(self, work, items):
        return [work(item) for item in items]


def verdict(suite, *ends, stop_early=False, tolerance=0.0):
    script = Script(*ends)
    v = judge(script.run, "source", suite, stop_early=stop_early, tolerance=tolerance)
    return v.kind, v.passed, v.total, len(script.jobs)


def test_programs_are_judged_case_by_case():
    a, b, c, x = map(finished, "abcx")
    assert verdict(STDIO, a, b, c) == ("solved", 3, 3, 3)
    assert verdict(STDIO, a, x, c) == ("wrong", 2, 3, 3)
    assert verdict(STDIO, a, x, stop_early=True) == ("wrong", 1, 3, 2)
    assert verdict(STDIO, a, finished("b", status=1), c) == ("runtime_error", 2, 3, 3)  # right output, then a failure
    assert verdict(STDIO, a, CRASH, x) == ("runtime_error", 1, 3, 3)
    assert verdict(STDIO, LATE) == ("too_slow", 0, 3, 1)  # the others would be too
    assert verdict(STDIO, NO_PYTHON) == ("compile_error", 0, 3, 1)
    assert verdict(Stdio(cases=())) == ("wrong", 0, 0, 0)


def test_calls_are_judged_reply_by_reply_and_missing_ones_by_how_it_ended():
    suite = CallSuite(setup="", calls=tuple(("f", (i,), [i]) for i in range(3)), from_json=False)
    replies = [{"v": encode([i])} for i in range(3)]
    assert verdict(suite, finished(replies=replies)) == ("solved", 3, 3, 1)
    assert verdict(suite, finished(replies=[replies[0], {"e": ["ValueError", ""]}, replies[2]])) == (
        "runtime_error",
        2,
        3,
        1,
    )
    assert verdict(suite, finished(replies=[replies[0], {"v": encode((1,))}, replies[2]])) == ("wrong", 2, 3, 1)
    assert verdict(suite, finished(replies=replies[:2])) == ("runtime_error", 2, 3, 1)
    assert verdict(suite, finished(how="late", replies=replies[:2])) == ("too_slow", 2, 3, 1)
    assert verdict(suite, NO_PYTHON) == ("compile_error", 0, 3, 1)
    assert verdict(suite, finished(replies=[*replies, *replies])) == ("solved", 3, 3, 1)  # more than asked are not read


def test_data_without_tuples_may_wrap_one_value_in_a_list():
    def suite(expected, from_json):
        return CallSuite(setup="", calls=(("f", (), expected),), from_json=from_json)

    one, pair = finished(replies=[{"v": 5}]), finished(replies=[{"v": encode((1, 2))}])
    assert verdict(suite([5], True), one)[0] == "solved" and verdict(suite([5], False), one)[0] == "wrong"
    assert verdict(suite([1, 2], True), pair)[0] == "solved" and verdict(suite([1, 2], False), pair)[0] == "wrong"


def test_tests_are_judged_by_what_the_tester_sent():
    suite = CodeSuite(setup="", tests_setup="", names=("f",), tests=("a", "b"))
    passed = {"v": True}
    assert verdict(suite, finished(replies=[passed, passed])) == ("solved", 2, 2, 1)
    assert verdict(suite, finished(replies=[passed, {"e": ["AssertionError", ""]}])) == ("wrong", 1, 2, 1)
    assert verdict(suite, finished(replies=[{"e": ["KeyError", "x"]}, passed])) == ("runtime_error", 1, 2, 1)
    assert verdict(suite, finished(replies=[{"v": 1}, passed])) == ("wrong", 1, 2, 1)
    assert verdict(suite, finished(status=1)) == ("runtime_error", 0, 2, 1)


@pytest.mark.parametrize(("expected", "told", "tolerance", "alike"), [
    ("1 2\n", "1 2", 0, True), ("1\n2\n", "1  \n2\n\n", 0, True), ("1 2", "1\n2", 0, True), ("1", "1.0", 1e-6, False),
    ("1.0 yes\n", "1.0000000001  yes", 1e-6, True), ("1.0", "1.0000000001", 0, False), ("0.5", "nan", 1e-6, False),
    ("1.5", "1.5" + "0" * 1000, 1e-6, False), ("Yes", "yes", 0, False), ("", "", 0, True), ("a", "", 0, False),
    ("1e3", "1000", 1e-6, True), ("nan", "nan", 0, True), ("1.5 x", "1.5", 1e-6, False), ("0.1", "0x1p-3", 1e-6, False),
])  # fmt: skip
def test_outputs_are_alike_up_to_white_space_and_decimals(expected, told, tolerance, alike):
    assert same_output(expected, told, tolerance) is alike


# ------------------------------------------------------------------------------------------ scores

ROW = Row(where="r:1", prompt="p", answer="a", solution=None, hard=True, entry={"suite": STDIO})
SCORES = {
    "solved_score": 1.0,
    "wrong": -0.3,
    "runtime_error": -0.6,
    "compile_error": -1.0,
    "partial": 0.0,
    "tolerance": 0.0,
}


def grader(*ends, **changes):
    return CodeGrader(sandbox=Script(*ends), **SCORES | changes)


def test_stepcoders_scores():
    a, b, c, x = map(finished, "abcx")
    for ends, score in (((a, b, c), 1.0), ((a, x), -0.3), ((a, CRASH), -0.6), ((LATE,), -0.6), ((NO_PYTHON,), -1.0)):
        assert grader(*ends).grade(ROW, "```\nx\n```") == (score, score == 1.0)


def test_partial_credit_goes_part_of_the_way_up():
    a, x, c = map(finished, "axc")
    # wrong, 2 of 3 passed: -.3 + .5 * 2/3 * 1.3
    assert grader(a, x, c, partial=0.5).grade(ROW, "x") == (pytest.approx(-0.3 + 0.5 * 2 / 3 * 1.3), False)
    assert grader(NO_PYTHON, partial=0.5).grade(ROW, "x") == (-1.0, False)


def test_a_program_is_run_once_and_counted_by_its_verdict():
    g = grader(*map(finished, "abc"), finished(status=1, stderr="ModuleNotFoundError: No module named 'numpy'"))
    for _ in range(3):
        assert g.grade(ROW, "text\n```\nx\n```\n").solved
    g.ahead([(ROW, "```\nx\n```"), (ROW, "```\ny\n```"), (ROW, "y\n")])
    assert len(g.sandbox.jobs) == 4
    assert g.counts == Counter(solved=1, runtime_error=1, unsupported=1)


def test_the_first_tests_alone_are_another_verdict_and_are_not_counted():
    g = grader(finished("a"), *map(finished, "abx"))
    assert g.verdict(ROW, "x", 1).kind == "solved" and g.verdict(ROW, "x", 1).total == 1
    assert g.verdict(ROW, "x", 0).kind == "wrong" and g.counts == Counter(wrong=1)


def test_a_lost_zygote_is_no_verdict():
    lost = ZygoteLost("gone")
    g = grader(lost, lost, *map(finished, "abc"))
    g.ahead([(ROW, "x")])
    with pytest.raises(ZygoteLost):
        g.grade(ROW, "x")
    assert g.grade(ROW, "x").solved


def test_a_trusted_solution_is_not_run():
    g = grader()
    g.trust(ROW, "```\nx\n```")
    assert g.grade(ROW, "```\nx\n```") == (1.0, True)


def test_scores_are_in_order():
    for wrong in ({"wrong": 1.0}, {"compile_error": 0.0}, {"partial": 1.5}, {"tolerance": -1.0}):
        with pytest.raises(ValueError, match="expected"):
            grader(**wrong)


def test_rows_without_tests_are_flawed():
    g = grader()
    empty = Row(where="r", prompt="p", answer="", solution=None, hard=True, entry={"suite": Stdio(cases=())})
    assert g.flaw(ROW) == "" and g.flaw(empty) == "has no tests"
    assert "no tests" in g.flaw(Row(where="r", prompt="p", answer="", solution=None, hard=True, entry={}))
