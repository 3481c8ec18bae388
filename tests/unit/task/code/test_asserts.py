import pytest

from rrl.task.code.asserts import check_suite, plain_call, suite_of
from rrl.task.code.suites import CallSuite, CodeSuite


@pytest.mark.parametrize(("test", "call"), [
    ("assert f(1, [2, 'a']) == {3: (4.5, None)}", ("f", (1, [2, "a"]), {3: (4.5, None)})),
    ("assert f() == -1, 'why'", ("f", (), -1)),
    ("assert f({1, 2}) == True", ("f", ({1, 2},), True)),
    ("assert f(1) != 2", None), ("assert f(1) == 2 == 2", None), ("assert f(1)", None), ("assert f(g(1)) == 2", None),
    ("assert f(1) == g(2)", None), ("assert f(x=1) == 2", None), ("assert a.f(1) == 2", None), ("f(1) == 2", None),
    ("assert f({[]: 1}) == 2", None), ("assert 2 == f(1)", None), ("assert f(1) == 2; assert f(2) == 3", None),
    ("assert f(*[1]) == 2", None), ("assert f(1) == 1 + 1j", ("f", (1,), 1 + 1j)),
])  # fmt: skip
def test_what_is_a_plain_call(test, call):
    assert plain_call(test) == call


def test_plain_calls_cross_as_values_and_anything_else_makes_them_code():
    plain, other = "assert f(1) == 2", "assert abs(f(2) - 4) < 1e-6"
    assert suite_of([plain], setup="import math", tests_setup="") == CallSuite(
        setup="import math", calls=(("f", (1,), 2),), from_json=False
    )
    assert suite_of([plain, other], setup="import math", tests_setup="") == CodeSuite(
        setup="import math", tests_setup="import math", names=("f",), tests=(plain, other)
    )
    assert suite_of([plain], setup="", tests_setup="y = 1").names == ("f",)


def test_names_that_the_tests_make_themselves_are_not_the_programs():
    suite = suite_of(
        ["v = [1]\nassert g(v) == [k for k in v] and math.isclose(f(1), 1)"], setup="import math", tests_setup=""
    )
    assert suite.names == ("f", "g")


@pytest.mark.parametrize(("tests", "setup", "why"), [
    (["assert f(1 =="], "", "no Python"), (["assert 1 == 1"], "", "call no function"), (["assert f(\0)"], "",
    "no Python"),
    (["assert f(root) == 1"], "root = Node(1)", "builds its tests with Node of the program"),
])  # fmt: skip
def test_tests_that_cannot_be_asked_are_refused(tests, setup, why):
    with pytest.raises(ValueError, match=why):
        suite_of(tests, setup="", tests_setup=setup)


def test_humanevals_check_becomes_calls_where_it_can():
    test = (
        "METADATA = {}\n\ndef check(candidate):\n    'doc'\n    assert candidate(1) == 2\n    assert True, 'x'\n"
        "    assert candidate([]) == ()\n"
    )
    assert check_suite(test, entry="add", setup="import math\n") == CallSuite(
        setup="import math\n", calls=(("add", (1,), 2), ("add", ([],), ())), from_json=False
    )
    loop = "def check(candidate):\n    for i in range(3):\n        assert candidate(i) == i\n"
    suite = check_suite(loop, entry="same", setup="")
    assert (suite.names, suite.tests) == (("same",), ("check(same)",)) and suite.tests_setup.endswith(loop)
    with pytest.raises(ValueError, match="without a function check"):
        check_suite("assert add(1) == 2", entry="add", setup="")
