import json
from types import SimpleNamespace

import pytest

from rrl import rng
from rrl.codec.byte import END
from tests.unit.task.text import question, text_task

ROWS = [question("1+1?", 2), question("2+2?", 4, "Two. Two\nmore."), question("3+3?", 6)]
HELD = [question("4+4?", 8)]


@pytest.fixture
def task(tmp_path):
    return text_task(tmp_path, ROWS, HELD)


def by_prompt(task):
    return {task.decode(p.prompt).removesuffix("<|answer|>"): p for p in task.train_problems() + task.eval_problems()}


def test_a_row_becomes_a_problem_with_its_worked_solution_and_a_stop_token(task):
    problem = by_prompt(task)["2+2?"]
    assert task.decode(problem.solution) == "Two. Two\nmore.\n#### 4<|end|>"
    assert (problem.answer, problem.task, problem.difficulty, problem.max_response) == ("4", "sums", "hard", 64)
    assert problem.stop == (END,) and not problem.exact_length
    assert [p.id for p in task.eval_problems()] == ["heldout-0"]


def test_only_a_response_that_ended_by_itself_is_solved(task):
    problem = by_prompt(task)["2+2?"]
    said = task.encode("so\n#### 4")
    assert task.score(problem, (*said, END)) == (1.0, True)
    assert task.score(problem, said) == (0.0, False)  # cut at the length limit, or a prefix that holds the answer
    assert task.score(problem, (*task.encode("#### 5"), END)) == task.score(problem, ()) == (0.0, False)


def test_steps_end_where_the_answer_is_stated(task):
    problem = by_prompt(task)["2+2?"]
    steps = task.steps(problem, problem.solution)
    assert [task.decode(problem.solution[:t]) for t in steps] == ["Two. ", "Two. Two\n", "Two. Two\nmore.\n"]
    assert task.right_prefix(problem) == ()


def test_the_prompt_is_the_row_inside_the_tasks_words(tmp_path):
    task = text_task(tmp_path, ROWS, HELD, prompt="Q: {prompt} A {x}:")
    assert "Q: 1+1? A {x}:" in by_prompt(task)
    with pytest.raises(ValueError, match=r"task\.prompt is 'Q:'; expected a text with \{prompt\}"):
        text_task(tmp_path, ROWS, HELD, prompt="Q:")


def test_the_seed_orders_and_chooses_training_problems_and_leaves_the_held_out_ones(tmp_path):
    rows = [question(f"{i}+0?", i) for i in range(30)]
    some = [text_task(tmp_path, rows, HELD, seed=s, num_train=10) for s in (0, 1)]
    chosen = [[p.answer for p in task.train_problems()] for task in some]
    assert len(chosen[0]) == len({*chosen[0]}) == 10 and chosen[0] != chosen[1]
    every = [text_task(tmp_path, rows, HELD, seed=s) for s in (0, 1)]
    assert {p.id for p in every[0].train_problems()} == {p.id for p in every[1].train_problems()}
    assert every[0].eval_problems() == every[1].eval_problems()
    assert every[0].fingerprint != every[1].fingerprint


def test_demonstrations_are_worked_solutions_and_their_absence_is_said(task, tmp_path):
    rows = task.demonstrations(20, rng.generator(0, "test"))
    assert all(response == problem.solution for problem, response in rows) and {p.id for p, _ in rows} == {
        "train-0", "train-1", "train-2"}  # fmt: skip
    short = text_task(tmp_path, ROWS, HELD, max_response=8)
    assert short.train_problems()[0].solution == ()
    with pytest.raises(ValueError, match=r"no solutions .*longer than task\.max_response': 4.*warm_start=none"):
        short.demonstrations(1, rng.generator(0, "test"))


def test_a_solution_that_its_own_grader_refuses_is_not_taught(tmp_path):
    class Moody:
        score_range, fingerprint = (0.0, 1.0), "moody"

        def flaw(self, row):
            return ""

        def grade(self, row, response):
            return SimpleNamespace(score=0.0, solved=False)

        def stated(self, response):
            return None

        def say(self, answer):
            return answer

    task = text_task(tmp_path, ROWS, HELD, grader=Moody())
    assert {p.solution for p in task.train_problems()} == {()}
    assert json.loads((tmp_path / "data.json").read_text())["left_out"] == {
        "worked solution refused by its own grader": 4}  # fmt: skip


# ------------------------------------------------------------------------------------------ bad rows

BAD = [
    question("1+1?", 2),
    "{not json",
    {"question": "2+2?"},
    question("", 3),
    question("3+3?", "six"),
    question("4+" * 40 + "4?", 164),
    question("What is <|end|>?", 5),
    '"a text"',
    {"question": ["5+5?"], "answer": "#### 10"},
    {"question": "6+6?", "answer": "12"},
    question("7+7?", 14),
]
WHY = {
    2: "is not JSON", 3: "has no field 'answer'; it has: question", 4: "has an empty prompt",
    5: "has answer 'six', which is not one number", 6: "has a prompt of 83 tokens; task.max_prompt is 64",
    7: "holds '<|end|>', which the tokenizer reads as a special token", 8: "is a str, not an object",
    9: "has a list in 'question'; expected text or a number", 10: "holds no '####' in 'answer'",
}  # fmt: skip


def test_bad_rows_are_refused_by_file_line_and_reason(tmp_path):
    with pytest.raises(ValueError) as error:
        text_task(tmp_path, BAD, HELD)
    message = str(error.value)
    assert "has 9 bad rows: " in message and "and 4 more" in message and "task.bad_rows=skip" in message
    assert f"{tmp_path / 'train.jsonl'}:2 is not JSON" in message


def test_bad_rows_are_skipped_named_and_counted(tmp_path, caplog):
    task = text_task(tmp_path, BAD, HELD, bad_rows="skip")
    assert {p.answer for p in task.train_problems()} == {"2", "14"}
    record = json.loads((tmp_path / "data.json").read_text())
    assert (record["train_rows"], record["heldout_rows"]) == (2, 1)
    told = {int(bad["where"].rpartition(":")[2]): bad["why"] for bad in record["bad_rows"]}
    assert told.keys() == WHY.keys() and all(told[line].startswith(why) for line, why in WHY.items())
    assert "skipped 9 bad rows" in caplog.text and "data.json" in caplog.text


def test_held_out_prompts_are_never_trained_on_and_no_prompt_stands_twice(tmp_path, caplog):
    train = [*ROWS, question("  4+4?\n", 8), question("1+1?", 2), question("1 + 1?", 2)]
    task = text_task(tmp_path, train, [*HELD, question("4+4?", 8)])
    assert {p.answer for p in task.train_problems()} == {"2", "4", "6"} and len(task.eval_problems()) == 1
    assert "4" in {p.answer for p in task.train_problems()}
    assert json.loads((tmp_path / "data.json").read_text())["left_out"] == {
        "training prompt that is also held out": 1, "prompt that stands there twice": 2}  # fmt: skip
    assert "1 x training prompt that is also held out, left out" in caplog.text


def test_a_split_without_a_usable_row_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no usable held-out problem .*has an empty prompt"):
        text_task(tmp_path, ROWS, [question("", 1)], bad_rows="skip")


@pytest.mark.parametrize("changes", [{"num_train": -1}, {"max_prompt": 0}, {"max_response": 1}, {"step_apart": 0}])
def test_numbers_out_of_range_are_refused_by_key(tmp_path, changes):
    (key,) = changes
    with pytest.raises(ValueError, match=rf"task\.{key} is -?\d; expected >= \d"):
        text_task(tmp_path, ROWS, HELD, **changes)
