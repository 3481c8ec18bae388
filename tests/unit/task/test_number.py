from fractions import Fraction

import pytest

from rrl.task.data.row import Row
from rrl.task.grade.number import NumberGrader, number

EQUAL = [
    ("72", "72"), ("72", "72."), ("72", "72.0"), ("72", "$72"), ("72", "72 dollars"), ("72", "**72**"), ("72", "$72$"),
    ("72", r"\$72"), ("72", "72%"), ("72", r"72\%"), ("72", r"72\text{ km}"), ("72", "72 km/h"), ("72", "+72"),
    ("1800", "1,800"), ("1,800", "1800.00"), ("10000", "10{,}000"), ("1234567.5", "1,234,567.50"), ("72", "072"),
    ("-4", "-4"), ("-4", "\u22124"), ("-4", "- 4"), ("-4", "$-4"), ("-4", "-$4"), ("-1/2", "-0.5"),
    ("0.5", "1/2"), ("0.5", r"\frac{1}{2}"), ("0.5", r"\dfrac{1}{2}"), ("0.5", ".5"), ("1.5", "1 1/2"), ("3", "6/2"),
    ("5", "5 cm"), ("5", "\u20ac5"), ("0", "0"),
]  # fmt: skip
DIFFERENT = [
    ("72", "73"), ("72", "7"), ("72", "720"), ("72", "-72"), ("0.5", "50%"), ("72", "72 or 73"), ("72", "71 to 72"),
    ("72", "seventy-two"), ("72", ""), ("72", "x = 72"), ("72", "72 + 0"), ("36", "3 dozen"), ("72", "72 and a half"),
    ("1000", "1,00"), ("1000", "1,0000"), ("3", "3/0"), ("72", "72.5.1"), ("72", "7 2"), ("72", "72 73"),
    ("1000", "1e3"), ("2", "-+2"), ("5000000", "5 million"), ("0.3333333333", "1/3"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal_numbers_are_equal_however_they_are_written(gold, answer):
    assert number(gold) == number(answer) is not None


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_other_numbers_and_what_is_not_one_number_are_different(gold, answer):
    assert number(gold) is not None and number(gold) != number(answer)


def test_numbers_are_exact():
    assert number("$1,234.50") == Fraction(2469, 2) and number("-1 1/2 cups") == Fraction(-3, 2)
    assert number("0.1") + number("0.2") == number("0.3")


def row(answer):
    return Row(where="f:1", prompt="?", answer=answer, solution=None, hard=True, entry={})


def test_only_a_marked_answer_counts_and_the_last_one_does():
    grader = NumberGrader(marks=("####", "boxed"))
    said = ["#### 72", "It is 72.", "#### 71\n#### 72", "#### 72\n#### 71", r"\boxed{72}", "#### 72 73"]
    assert [grader.grade(row("72"), text).solved for text in said] == [True, False, True, False, True, False]
    assert grader.grade(row("72"), "#### 72").score == 1.0 and grader.grade(row("72"), "").score == 0.0


def test_a_gold_answer_that_is_no_number_is_a_flaw():
    grader = NumberGrader(marks=("####",))
    assert grader.flaw(row("1,800")) == ""
    assert grader.flaw(row("about ten")) == "has answer 'about ten', which is not one number"
