import pytest

from rrl.task.grade.marks import Marks, last_boxed


@pytest.mark.parametrize(("text", "answer"), [
    (r"so \boxed{72}.", "72"),
    (r"\boxed{1} no, \boxed{2}", "2"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\boxed {x}", "x"),
    (r"\fbox{3} and $\fboxed{4}$", "4"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{1} but \boxed{2", "1"),  # the open one states nothing
    (r"\boxed{2", None),
    (r"\boxed 5", None),
    (r"\boxed{}", ""),
    ("no box", None),
])  # fmt: skip
def test_the_last_closed_box_holds_the_answer(text, answer):
    assert last_boxed(text) == answer


@pytest.mark.parametrize(("marks", "text", "answer"), [
    (["####"], "a\n#### 72\n", "72"),
    (["####"], "#### 1\n#### 2 apples", "2 apples"),
    (["####"], "####", ""),
    (["####"], "72", None),
    (["Answer:"], "Answer: 3\nmore words", "3"),
    (["<answer>"], "<answer>\n a b \n</answer> done", "a b"),
    (["<answer>"], "<answer>1</answer><answer>2</answer>", "2"),
    (["<answer>"], "<answer>1", None),
    (["<answer>"], "</answer>1<answer>", None),
    (["Answer:", "boxed"], r"Answer: \boxed{4}", "4"),  # the later mark
    (["####", "boxed"], r"\boxed{4}" + "\n#### 5", "5"),
])  # fmt: skip
def test_the_last_mark_states_the_answer(marks, text, answer):
    assert Marks(marks).last(text) == answer


def test_the_first_mark_is_where_the_answer_is_announced():
    assert Marks(["####", "boxed"]).first(r"ab \boxed{1} #### 2") == 3
    assert Marks(["<answer>"]).first("ab <answer>") == 3
    assert Marks(["boxed"]).first(r"ab \boxed") is None


@pytest.mark.parametrize(("mark", "said"), [
    ("boxed", r"\boxed{7}"), ("####", "#### 7"), ("<answer>", "<answer>7</answer>"), ("Answer:", "Answer: 7"),
])  # fmt: skip
def test_what_is_said_is_found_again(mark, said):
    marks = Marks([mark])
    assert marks.say("7") == said and marks.last(f"so {said}") == "7" and marks.first(f"so {said}") == 3


@pytest.mark.parametrize("marks", [[], [" "]])
def test_no_mark_is_refused(marks):
    with pytest.raises(ValueError, match=r"task\.grader\.marks is"):
        Marks(marks)
