import pytest

from rrl.task.data.gym import GymData, shared_out
from rrl.task.grade.arithmetic import checked, literal
from rrl.task.grade.gym import GymGrader

ALL = __import__("reasoning_gym").factory.DATASETS


def gym(*tasks):
    return GymData(tasks=tuple({"name": name, "weight": weight, "config": config} for name, weight, config in tasks))


@pytest.fixture(scope="module")
def grader():
    return GymGrader(marks=("<answer>",), solved_at=1.0, timeout_s=10.0, memory_mb=2048)


def test_problems_are_shared_out_by_largest_remainder():
    assert shared_out(10, [1, 1, 1]) == [4, 3, 3] and shared_out(10, [3, 1]) == [8, 2]
    assert shared_out(1, [1, 5]) == [0, 1]


def test_a_mix_has_its_shares_and_no_question_twice_or_on_both_sides():
    data = gym(("chain_sum", 3.0, {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}),
               ("spell_backward", 1.0, {}), ("leg_counting", 0.0, {}))  # fmt: skip
    train, heldout = data.read(seed=0, num_train=40, num_heldout=8)
    assert [row.entry["name"] for row in train.rows].count("chain_sum") == 30 and len(train.rows) == 40
    asked = [row.prompt for row in train.rows + heldout.rows]
    assert len({*asked}) == len(asked) == 48
    again, other = data.read(seed=0, num_train=40, num_heldout=8), data.read(seed=1, num_train=40, num_heldout=8)
    assert again == (train, heldout) and other[0] != train


def test_a_data_set_that_runs_out_of_questions_says_so():
    data = gym(("chain_sum", 1.0, {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}))
    with pytest.raises(ValueError, match=r"chain_sum made \d+ distinct questions in \d+ draws, 2000 are wanted"):
        data.read(seed=0, num_train=2000, num_heldout=1)


@pytest.mark.parametrize(("tasks", "words"), [
    ([("chain_sums", 1.0, {})], r"'chain_sums', which reasoning-gym does not have; near: chain_sum"),
    ([("chain_sum", 0.0, {})], "a weight > 0 among them"),
    ([("chain_sum", 1.0, {}), ("chain_sum", 1.0, {})], "names of their own"),
    ([("chain_sum", -1.0, {})], "expected name, weight >= 0 and config"),
])  # fmt: skip
def test_an_impossible_mix_is_refused(tasks, words):
    with pytest.raises(ValueError, match=words):
        gym(*tasks)


@pytest.mark.parametrize("config", [{"typo": 1}, {"min_terms": 5, "max_terms": 2}])
def test_a_config_that_the_data_set_refuses_is_named(config):
    with pytest.raises(ValueError, match="chain_sum refuses its config"):
        gym(("chain_sum", 1.0, config)).read(seed=0, num_train=1, num_heldout=1)


def test_no_number_of_problems_is_refused():
    with pytest.raises(ValueError, match=r"task\.num_train is 0; expected >= 1: these problems are made"):
        gym(("chain_sum", 1.0, {})).read(seed=0, num_train=0, num_heldout=1)


# ------------------------------------------------------------------------------------------ verdicts


def test_the_last_marked_answer_is_scored_by_the_data_sets_own_verifier(grader):
    (row,) = gym(("chain_sum", 1.0, {})).read(seed=0, num_train=1, num_heldout=1)[0].rows
    assert grader.grade(row, f"<answer>{row.answer}</answer>") == (1.0, True)
    assert grader.grade(row, f"<answer>0</answer> no, <answer> {row.answer} </answer>") == (1.0, True)
    partly = grader.grade(row, f"<answer>it is {row.answer}</answer>")  # partial credit, not an answer
    assert 0.0 < partly.score < 1.0 and not partly.solved
    assert grader.grade(row, row.answer) == (0.0, False)


def test_solved_begins_at_the_stated_score():
    (row,) = gym(("chain_sum", 1.0, {})).read(seed=0, num_train=1, num_heldout=1)[0].rows
    lenient = GymGrader(marks=("<answer>",), solved_at=0.1, timeout_s=10.0, memory_mb=2048)
    assert lenient.grade(row, f"<answer>it is {row.answer}</answer>").solved
    with pytest.raises(ValueError, match=r"task\.grader\.solved_at is 0\.0"):
        GymGrader(marks=("<answer>",), solved_at=0.0, timeout_s=10.0, memory_mb=2048)


# Data sets that give no answer of their own: many are right, or it is a plan.
LAX = ["game_of_life_halting"]  # whatever is not True counts as False there
OPEN = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}


@pytest.mark.slow
def test_every_data_set_makes_rows_and_accepts_its_own_answers(grader):
    names = sorted(set(ALL) - {"composite"})
    train, _ = gym(*((name, 1.0, {}) for name in names)).read(seed=3, num_train=len(names), num_heldout=len(names))
    assert [row.entry["name"] for row in train.rows] == names and len(names) > 90
    assert {row.entry["name"] for row in train.rows if row.solution is None} == OPEN
    refused = [row.entry["name"] for row in train.rows if row.solution is not None
               and not grader.grade(row, grader.say(row.answer)).solved]  # fmt: skip
    assert refused == []
    solved = [row.entry["name"] for row in train.rows if grader.grade(row, "<answer>no, nothing</answer>").solved]
    assert solved == LAX


@pytest.mark.parametrize("name", ["spiral_matrix", "string_insertion", "binary_matrix", "n_queens", "countdown",
                                  "puzzle24", "polynomial_multiplication", "simple_integration",
                                  "intermediate_integration", "number_sorting"])  # fmt: skip
def test_an_answer_that_is_a_program_does_not_run(grader, tmp_path, name):
    # These verifiers give the answer to eval, or to sympy's parser, which is eval.
    (row,) = gym((name, 1.0, {})).read(seed=0, num_train=1, num_heldout=1)[0].rows
    mark = tmp_path / "ran"
    for answer in (
        f"__import__('os').system('touch {mark}')", f"[open('{mark}', 'w')]",
        f"eval(\"__import__('os').system('touch {mark}')\")", f"().__class__.__base__.__subclasses__() or '{mark}'",
    ):  # fmt: skip
        assert not grader.grade(row, f"<answer>{answer}</answer>").solved
    assert not mark.exists()


@pytest.mark.parametrize("text", [
    "__import__('os')", "x.__class__", "().real", "open(1)", "eval(1)", "lambda: 1", "[1]", "'a'", "exec(x)", "os",
    "x.y", "f\"{x}\"", "print(1)", "getattr(x, y)", "chr(65)", "import os", "{1}", "a:=1",
])  # fmt: skip
def test_what_is_not_arithmetic_is_refused(text):
    with pytest.raises(ValueError):
        checked(text)


def test_arithmetic_and_literals_are_read():
    assert checked("2*x**2 + sin(x)/3.5 - C") and checked("(24 - 4) * 3")
    assert literal("[[1, 0], [0, 1]]") == [[1, 0], [0, 1]] and literal("3 + 4*2") == 11 and literal("0xff & 0x0f") == 15
