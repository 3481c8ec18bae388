from __future__ import annotations

import numpy as np
import pytest

from rrl import rng
from rrl.task.keychain import DECOY, FIRST_KEY, HARD, Keychain, chain


def keychain(**changes):
    numbers = {
        "seed": 0, "num_keys": 10, "num_symbols": 6, "num_hard": 48, "num_easy": 128, "chain_length": 4,
        "decoy_score": 0.4, "demo_noise": 0.5, "demo_decoy_frac": 0.2, "demo_hard_frac": 0.5, "shared_key": False,
    }
    return Keychain(**(numbers | changes))


def test_a_chain_applies_the_keys_table_again_and_again():
    tables = np.array([[2, 0, 1], [1, 2, 0]])
    assert chain(tables, key=0, symbol=0, length=4) == [2, 1, 0, 2]
    assert chain(tables, key=1, symbol=2, length=3) == [0, 1, 2]


def test_the_vocabulary_has_5_marks_10_keys_6_symbols_and_176_ids():
    task = keychain()
    assert task.vocab_size == 5 + 10 + 6 + 176 == 197
    assert task.encode("PAD E H D K0 K9 s0 s5 id0 id175") == (0, 1, 2, 4, 5, 14, 15, 20, 21, 196)


def test_every_table_is_a_permutation_and_tables_differ():
    task = keychain()
    assert (np.sort(task.tables, axis=1) == np.arange(6)).all()
    assert len({tuple(row) for row in task.tables.tolist()}) > 5


def test_solutions_follow_the_tables():
    task = keychain()
    for problem in task.train_problems() + task.eval_problems():
        hard = problem.difficulty == "hard"
        key = (problem.solution[0] if hard else problem.prompt[3]) - FIRST_KEY
        found = chain(task.tables, key, problem.prompt[2] - 15, 4)
        assert problem.solution[1 if hard else 0 :] == tuple(15 + s for s in found)
        assert (len(problem.prompt), problem.max_response) == ((3, 5) if hard else (4, 4))
        assert problem.stop == (DECOY,) and problem.exact_length


def test_scores_are_one_for_right_decoy_score_for_the_decoy_on_hard_and_zero_else():
    task = keychain()
    hard, easy = task.train_problems()[0], task.train_problems()[48]
    assert task.score(hard, hard.solution) == (1.0, True)
    assert task.score(hard, (DECOY,)) == (0.4, False)
    assert task.score(hard, hard.solution[:1] + (DECOY,)) == (0.0, False)
    assert task.score(hard, hard.solution[:4]) == (0.0, False)
    assert task.score(hard, hard.solution[:4] + ((hard.solution[4] - 15 + 1) % 6 + 15,)) == (0.0, False)
    assert task.score(easy, easy.solution) == (1.0, True)
    assert task.score(easy, (DECOY,)) == (0.0, False)


def test_heldout_problems_share_ids_and_hard_keys_with_training_but_no_prompt():
    task = keychain()
    train, heldout = task.train_problems(), task.eval_problems()
    assert not {p.prompt for p in train} & {p.prompt for p in heldout}
    assert not {p.id for p in train} & {p.id for p in heldout}
    for before, after in zip(train, heldout, strict=True):
        assert before.prompt[1] == after.prompt[1] and before.prompt[2] != after.prompt[2]
        if before.difficulty == "hard":
            assert before.solution[0] == after.solution[0]
        else:
            assert before.prompt[3] != after.prompt[3]


def test_a_shared_key_is_a_function_of_the_start_symbol():
    task = keychain(shared_key=True)
    keys: dict[int, set[int]] = {}
    for problem in task.train_problems() + task.eval_problems():
        if problem.difficulty == "hard":
            keys.setdefault(problem.prompt[2], set()).add(problem.solution[0])
    assert [len(found) for found in keys.values()] == [1] * 6


def test_keys_of_ids_cannot_be_read_off_the_start_symbol():
    hard = [p for p in keychain().train_problems() if p.difficulty == "hard"]
    assert len({(p.prompt[2], p.solution[0]) for p in hard}) > 20


def test_the_right_prefix_is_the_key_and_the_wrong_ones_are_the_nine_others():
    task = keychain()
    hard, easy = task.train_problems()[0], task.train_problems()[48]
    assert task.right_prefix(hard) == hard.solution[:1]
    assert sorted([*task.wrong_prefixes(hard), task.right_prefix(hard)]) == [(k,) for k in range(5, 15)]
    assert task.right_prefix(easy) == () and task.wrong_prefixes(easy) == []


def test_steps_are_all_boundaries_between_tokens():
    task = keychain()
    hard = task.train_problems()[0]
    assert task.steps(hard, hard.solution) == [1, 2, 3, 4]
    assert task.steps(hard, (DECOY,)) == []


def test_demonstrations_are_half_hard_a_fifth_decoys_and_right_with_the_stated_probability():
    task = keychain()
    rows = task.demonstrations(20_000, rng.generator(0, "test"))
    hard = [(p, r) for p, r in rows if p.difficulty == "hard"]
    chains = [r for _, r in hard if r != (DECOY,)]
    assert len(hard) / len(rows) == pytest.approx(0.5, abs=0.01)
    assert 1 - len(chains) / len(hard) == pytest.approx(0.2, abs=0.01)
    steps = [(r[0] - 5, before - 15, after - 15) for r in chains for before, after in zip(r[1:], r[2:], strict=False)]
    right = np.mean([task.tables[k, before] == after for k, before, after in steps])
    assert right == pytest.approx(0.5 + 0.5 / 6, abs=0.01)  # a uniform symbol is right in 1 of 6
    assert np.bincount([r[0] - 5 for r in chains], minlength=10) / len(chains) == pytest.approx([0.1] * 10, abs=0.01)
    assert {len(r) for _, r in rows} == {1, 4, 5}


def test_an_easy_demonstration_uses_the_key_of_its_prompt():
    task = keychain(demo_noise=0.0, demo_hard_frac=0.0)
    for problem, response in task.demonstrations(50, rng.generator(1, "test")):
        assert [t - 15 for t in response] == chain(task.tables, problem.prompt[3] - 5, problem.prompt[2] - 15, 4)


def test_demonstrations_never_tell_which_key_is_right():
    task = keychain(demo_hard_frac=1.0, demo_decoy_frac=0.0)
    key_of_id = {p.prompt[1]: p.solution[0] for p in task.train_problems() if p.prompt[0] == HARD}
    rows = [(p, r) for p, r in task.demonstrations(20_000, rng.generator(0, "test")) if p.prompt[1] in key_of_id]
    assert np.mean([r[0] == key_of_id[p.prompt[1]] for p, r in rows]) == pytest.approx(0.1, abs=0.015)


def test_text_reads_well_and_encodes_back():
    task = keychain()
    hard = task.encode("H id17 s3 | K4 s1 s0 s2 s2")
    assert hard == (2, 21 + 17, 18, 9, 16, 15, 17, 17)
    assert task.decode(hard) == "H id17 s3 | K4 s1 s0 s2 s2"
    easy = "E id60 s3 K4 | s1 s0"
    assert task.decode(task.encode(easy)) == easy
    assert task.decode(hard[:3]) == "H id17 s3" and task.decode(hard[3:]) == "K4 s1 s0 s2 s2"
    with pytest.raises(ValueError, match="K99"):
        task.encode("H K99")
    with pytest.raises(ValueError, match="197"):
        task.decode((197,))


def test_the_same_seed_gives_the_same_task_and_another_gives_another():
    assert keychain().train_problems() == keychain().train_problems()
    assert keychain().fingerprint == keychain().fingerprint
    assert keychain(seed=1).train_problems() != keychain().train_problems()
    changes = ({}, {"seed": 1}, {"decoy_score": 0.3}, {"shared_key": True})
    assert len({keychain(**change).fingerprint for change in changes}) == 4


@pytest.mark.parametrize(("change", "words"), [
    ({"chain_length": 0}, "task.chain_length is 0"), ({"decoy_score": 1.0}, "task.decoy_score is 1.0"),
    ({"demo_noise": 1.5}, "task.demo_noise is 1.5"), ({"num_hard": 0, "num_easy": 0}, "at least one problem"),
])
def test_impossible_numbers_are_refused_by_key(change, words):
    with pytest.raises(ValueError, match=words):
        keychain(**change)
