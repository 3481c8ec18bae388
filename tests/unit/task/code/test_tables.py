"""Published formats as rows, and what is said of rows that are none."""

import json

import pytest

from rrl.task.code.formats import apps, humaneval, mbpp
from rrl.task.code.suites import CallSuite, Stdio, first_tests, num_tests
from rrl.task.code.tables import CodeTables

APPS = {"question": "Add.", "solutions": json.dumps(["a\tb\r\n"]), "difficulty": "interview", "starter_code": "",
        "input_output": json.dumps({"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", "7"]})}  # fmt: skip
MBPP = {"text": "Double it.", "code": "def f(x):\n    return 2 * x", "test_list": ["assert f(1) == 2",
"assert f(2) == 4"],
        "test_setup_code": "", "challenge_test_list": ["assert f(0) == 0"]}  # fmt: skip
HUMAN = {"prompt": "import math\n\n\ndef f(x):\n    'doc'\n", "canonical_solution": "    return x\n",
"entry_point": "f",
         "test": "def check(candidate):\n    assert candidate(1) == 1\n"}  # fmt: skip


def test_apps_reads_stdin_and_writes_stdout():
    row = apps("w", APPS, 0)
    assert row.entry["suite"] == Stdio(cases=(("1 2\n", "3\n"), ("3\n4\n", "7")))
    assert row.prompt == "Add.\nRead from standard input and write to standard output."
    assert (row.answer, row.solution, row.entry["level"]) == ("a    b", "```python\na    b\n```", "interview")


def test_apps_with_a_function_and_appsplus():
    named = {"inputs": [[[1, 2], 3]], "outputs": [[4]], "fn_name": "f"}
    row = apps("w", APPS | {"input_output": json.dumps(named), "starter_code": "class Solution:\n"}, 0)
    suite = row.entry["suite"]
    assert isinstance(suite, CallSuite) and suite.calls == (("f", ([1, 2], 3), [4]),) and suite.from_json
    assert row.prompt == "Add.\nDefine f.\nclass Solution:"
    plus = {"question": "Add.", "inputs": ["1\n"], "outputs": ["2\n"], "canonical_solution": "c"}
    row = apps("w", plus, 0)
    assert (row.answer, row.entry["suite"]) == ("c", Stdio(cases=(("1\n", "2\n"),)))


def test_mbpp_shows_its_first_tests_and_keeps_all():
    row = mbpp("w", MBPP, 1)
    assert row.prompt == "Double it.\nYour code must pass tests such as:\nassert f(1) == 2"
    assert [c[1:] for c in row.entry["suite"].calls] == [((1,), 2), ((2,), 4), ((0,), 0)]
    assert mbpp("w", MBPP, 0).prompt == "Double it."
    imported = mbpp("w", MBPP | {"test_imports": ["import math"], "prompt": "P", "text": None}, 0)
    assert imported.entry["suite"].setup == "import math" and imported.prompt == "P"


def test_humaneval_asks_for_the_whole_function_and_sets_up_what_stands_before_it():
    row = humaneval("w", HUMAN, 0)
    assert row.answer == "import math\n\n\ndef f(x):\n    'doc'\n    return x"
    assert row.entry["suite"] == CallSuite(setup="import math\n\n\n", calls=(("f", (1,), 1),), from_json=False)


def test_the_first_tests_of_a_suite():
    suite = apps("w", APPS, 0).entry["suite"]
    assert [num_tests(first_tests(suite, n)) for n in (1, 2, 9)] == [1, 2, 2]


def tables(path, **changes):
    held = {"train": (str(path),), "heldout": (), "train_format": "apps", "heldout_format": "apps", "max_tests": 0,
            "shown_tests": 0, "hard_levels": ()}  # fmt: skip
    return CodeTables(**held | changes)


def test_bad_rows_are_named_with_file_line_and_reason(tmp_path):
    path = tmp_path / "rows.jsonl"
    bad = [
        {k: v for k, v in APPS.items() if k != "question"}, APPS | {"input_output": "{}"},
        APPS | {"input_output": "[1"},
        APPS | {"input_output": json.dumps({"inputs": ["1"], "outputs": []})},
        APPS | {"input_output": json.dumps({"inputs": [5], "outputs": ["1"]})}, APPS | {"question": 7},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in [APPS, *bad]) + "no json\n")
    train, _ = tables(path, heldout=(str(path),)).read(seed=0, num_train=0, num_heldout=0)
    assert len(train.rows) == 1 and len(train.bad) == 7
    assert [b.where for b in train.bad] == [f"{path}:{line}" for line in range(2, 9)]
    why = [b.why for b in train.bad]
    assert "has no field 'question'" in why[0] and "has no field 'inputs'" in why[1]
    assert "1 inputs and 0 outputs" in why[3] and "has a int as input" in why[4]
    assert all(w for w in why)


def test_rows_are_held_out_by_their_text(tmp_path):
    path, turned = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    rows = [json.dumps(APPS | {"question": f"Q{i}"}) for i in range(20)]
    path.write_text("\n".join(rows)), turned.write_text("\n".join(rows[::-1]))
    held = [
        {r.prompt for r in tables(p).read(seed=s, num_train=0, num_heldout=5)[1].rows}
        for p, s in ((path, 0), (turned, 1))
    ]
    assert held[0] == held[1] and len(held[0]) == 5
    with pytest.raises(ValueError, match=r"num_heldout is 0 without .*expected 1\.\.19"):
        tables(path).read(seed=0, num_train=0, num_heldout=0)


def test_levels_and_numbers_of_tests(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        "\n".join(
            json.dumps(APPS | {"question": q, "difficulty": d}) for q, d in (("a", "interview"), ("b", "introductory"))
        )
    )
    rows = (
        tables(path, heldout=(str(path),), hard_levels=("interview",), max_tests=1)
        .read(seed=0, num_train=0, num_heldout=0)[0]
        .rows
    )
    assert [(r.hard, num_tests(r.entry["suite"])) for r in rows] == [(True, 1), (False, 1)]
    for wrong in ({"train": ()}, {"max_tests": -1}, {"shown_tests": -1}):
        with pytest.raises(ValueError, match="expected"):
            tables(path, **wrong)
