from __future__ import annotations

import numpy as np
import pytest

from rrl import rng
from rrl.task.arith_chain import RESULT, ArithChain, results


def arith(**changes):
    numbers = {
        "seed": 0, "length": 12, "num_hard": 64, "num_heldout": 128, "num_short": 0, "short_length": 3,
        "misconception_frac": 0.4, "misconception_right": 0.3, "demo_right": 0.8,
    }
    return ArithChain(**(numbers | changes))


def test_intermediate_results_by_hand():
    # +1, x3, +9, x7 from 4: 5, 15 -> 5, 14 -> 4, 28 -> 8.
    assert results([0, 9, 8, 10], 4) == [5, 5, 4, 8]


def test_all_operators_are_permutations_of_the_digits():
    assert (np.sort(RESULT, axis=1) == np.arange(10)).all()


def test_solutions_read_as_arithmetic():
    task = arith(length=3, short_length=1)
    problem = task._problem("by hand", [0, 9, 8], 4)
    assert task.decode(problem.prompt + problem.solution) == "+1 x3 +9 4 | 5 5 4"
    assert task.encode("+1 x3 +9 4 | 5 5 4") == problem.prompt + problem.solution


def test_short_problems_leave_trailing_slots_empty_so_operators_keep_their_distance():
    task = arith(num_short=64)
    short = [p for p in task.train_problems() if p.difficulty == "easy"]
    assert len(short) == 64 and len(task.train_problems()) == 128
    for p in short:
        assert len(p.prompt) == 13 and p.prompt[3:12] == (0,) * 9 and min(p.prompt[:3]) >= 11
        assert p.max_response == 3 and p.exact_length and p.stop == ()


def test_only_all_digits_right_scores():
    task = arith()
    problem = task.train_problems()[0]
    assert task.score(problem, problem.solution) == (1.0, True)
    first_wrong = (problem.solution[0] % 10 + 1, *problem.solution[1:])
    assert task.score(problem, first_wrong) == (0.0, False)
    assert task.score(problem, problem.solution[:11]) == (0.0, False)


def test_the_vocabulary_is_pad_ten_digits_and_twelve_operators():
    assert arith().vocab_size == 23
    assert arith().encode("PAD 0 9 +1 +9 x3 x9") == (0, 1, 10, 11, 19, 20, 22)


def test_training_and_heldout_prompts_are_distinct():
    task = arith(num_short=64)
    prompts = [p.prompt for p in task.train_problems() + task.eval_problems()]
    assert len(set(prompts)) == len(prompts) == 64 + 64 + 128
    assert {p.difficulty for p in task.eval_problems()} == {"hard"}


def test_more_short_problems_leave_the_hard_ones_as_they_were():
    assert arith(num_short=64).train_problems()[:64] == arith().train_problems()


def test_the_right_prefix_is_the_right_half_and_wrong_ones_end_wrong():
    task = arith()
    problem = task.train_problems()[0]
    right, wrong = task.right_prefix(problem), task.wrong_prefixes(problem)
    assert right == problem.solution[:6]
    assert len(set(wrong)) == 9 and right not in wrong and {w[:5] for w in wrong} == {right[:5]}


def test_forty_percent_of_the_cells_are_misconceptions_with_one_wrong_digit_each():
    task = arith()
    assert task.misconception.sum() == 48
    assert (task.wrong != RESULT).all()


def test_demonstrations_are_right_as_often_as_stated():
    task = arith()
    rows = task.demonstrations(20_000, rng.generator(0, "test"))
    seen: dict[bool, list[bool]] = {True: [], False: []}
    slips = []
    for problem, response in rows:
        digits = [problem.prompt[12] - 1, *(t - 1 for t in response)]
        for op, before, after in zip(problem.prompt[: len(response)], digits, digits[1:], strict=False):
            cell = (op - 11, before)
            mistaken = bool(task.misconception[cell])
            seen[mistaken].append(bool(RESULT[cell] == after))
            if mistaken and RESULT[cell] != after:
                slips.append(bool(task.wrong[cell] == after))
    assert np.mean(seen[True]) == pytest.approx(0.3, abs=0.01)
    assert np.mean(seen[False]) == pytest.approx(0.8, abs=0.01)
    assert all(slips)
    lengths = np.bincount([len(r) for _, r in rows], minlength=13)[1:]
    assert lengths / len(rows) == pytest.approx([1 / 12] * 12, abs=0.01)


def test_the_fingerprint_names_every_number_and_the_seed():
    prints = {arith(**change).fingerprint for change in ({}, {"seed": 1}, {"num_short": 4}, {"demo_right": 0.7})}
    assert len(prints) == 4 and arith().fingerprint in prints


@pytest.mark.parametrize(("change", "words"), [
    ({"length": 1}, "task.length is 1"), ({"short_length": 12}, "task.short_length is 12"),
    ({"demo_right": 2.0}, "task.demo_right is 2.0"), ({"num_short": 1000, "short_length": 1}, "task.num_short is 1000"),
])
def test_impossible_numbers_are_refused_by_key(change, words):
    with pytest.raises(ValueError, match=words):
        arith(**change)
