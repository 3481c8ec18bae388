
import pytest

from rrl.codec.byte import ByteCodec
from rrl.task.code.extract import code_of, code_spans, fenced, num_closed, statement_boundaries, statement_ends
from tests.cpu import counted


@pytest.mark.parametrize(("response", "code"), [
    ("x = 1", "x = 1"),
    ("so\n```python\nx = 1\n```", "x = 1\n"),
    ("```python\nx = 1\n```\nor better\n```py\ny = 2\n```\nDone.", "y = 2\n"),  # the last one counts
    ("```python\nx = 1\n```\n```\n```", "x = 1\n"),  # an empty one does not
    ("```python\nx = 1", "x = 1"),  # not closed
    ("  ```\n  x = 1\n  ```", "  x = 1\n"),
    ("```python\ns = '''\n a ``` b\n'''\n```", "s = '''\n a ``` b\n'''\n"),
    ("```python", ""), ("say ``` and stop", ""), ("", ""),
])  # fmt: skip
def test_the_program_is_in_the_last_block_that_holds_anything(response, code):
    assert code_of(response) == code


def test_all_programs_of_a_response_in_order():
    text = "```\na\n```\nthen\n```\nb\n```"
    assert [text[i:j] for i, j in code_spans(text)] == ["a\n", "b\n"] and code_spans("ab") == [(0, 2)]


def test_blocks_are_counted_when_they_close():
    text = "so\n```python\nx = 1\n```\nnow\n```\ny\n```"
    counts = [num_closed(text[:t]) for t in range(len(text) + 1)]
    first, second = text.index("```\nnow") + 3, len(text)
    assert counts == [0] * first + [1] * (second - first) + [2]
    assert num_closed("```\n```") == num_closed("x = 1") == 0


def test_a_fenced_program_is_read_back():
    assert code_of(fenced("\nx = 1\n\n")) == "x = 1\n"


def test_statements_end_where_python_says():
    assert statement_ends("x = (1,\n2)\ny = 3\n") == [11, 17]
    assert statement_ends("def f():\n    return 1\n\nf()") == [9, 22, 26]
    assert statement_ends("x = 'open\ny = 2\n") == [] and statement_ends("x = 1\ny = (2,\n") == [6]
    assert statement_ends("") == []


def test_boundaries_stand_before_programs_and_behind_statements():
    codec = ByteCodec()
    text = "a\n```\nx = 1\ny = 2\n```\nb\n```\nz = 3\n```"
    found = statement_boundaries(codec.decode, codec.encode(text), 1)
    assert [text[:t][-6:] for t in found] == ["a\n```\n", "x = 1\n", "y = 2\n", "b\n```\n", "z = 3\n"]
    assert statement_boundaries(codec.decode, codec.encode(text), 12) == [12, 28]
    assert statement_boundaries(codec.decode, (), 1) == []


def test_no_text_is_dear_to_read():
    evil = [
        "```" * 20_000,
        "```\n" * 20_000,
        " \t" * 40_000 + "```",
        ("\n" + " " * 300) * 300,
        "```\n" + "`" * 60_000,
        "(" * 60_000,
    ]
    with counted() as cost:
        for text in evil:
            code_of(text)
            num_closed(text)
            statement_ends(text)
    assert cost.seconds < 2.0
