from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rrl import rng
from rrl.build import make
from rrl.environment import with_given
from rrl.evaluate import Exact
from rrl.policy.causal_lm import CausalLM
from rrl.policy.engine.tiny import TinyEngine
from rrl.policy.tiny import TinyBackbone
from rrl.protocols import Environment
from rrl.records import Progress
from rrl.stages import attempts_of
from rrl.task.arith_chain import ArithChain
from rrl.task.arith_chain_status import ArithChainStatus
from rrl.types import Estimated, Scored, Start, given, plain, sampled, sequences_of
from tests.unit.policy.small import SIZES
from tests.unit.replay.builders import an_attempt, option

NUMBERS = {
    "seed": 0, "length": 12, "num_hard": 64, "num_heldout": 128, "num_short": 60, "short_length": 3,
    "misconception_frac": 0.4, "misconception_right": 0.3, "demo_right": 0.8,
}
SMALL = {"length": 4, "num_hard": 3, "num_heldout": 2, "num_short": 2, "short_length": 2}


def status(**changes):
    return ArithChainStatus(**(NUMBERS | changes))


def by_hand(task):
    """+1 x3 +9 from 4: 5, 15 -> 5, 14 -> 4."""
    return task._twice(ArithChain(**(NUMBERS | {"length": 3, "short_length": 1}))._problem("by hand", [0, 9, 8], 4))


def written(task, text):
    """A response in words, its copies marked as given: every second word."""
    return tuple(-1 - t if place % 2 else t for place, t in enumerate(task.encode(text)))


def policy_of(task, **sizes):
    shape = SIZES | {"max_positions": 64, "dtype": "float64"} | sizes
    return CausalLM(
        seed=0, task=task, engine=TinyEngine(), backbone=TinyBackbone(seed=0, task=task, **shape), temperature=1.0,
        rows_per_batch=64, actions_per_chunk=64, logits_dtype="float32", prefix_sharing="repeat",
        packing="never", prefix_gradient=True,
    )


# ------------------------------------------------------------------------------------------ tokens and flags


def test_ten_flagged_digits_stand_behind_the_vocabulary_of_the_plain_chain():
    task = status()
    assert task.vocab_size == 33 and isinstance(task, Environment) and task.max_given == 11
    assert task.encode("PAD 0 9 +1 x9 0! 9!") == (0, 1, 10, 11, 22, 23, 32)


def test_every_token_of_the_prompt_stands_twice():
    task = status(length=3, short_length=1)
    problem = by_hand(task)
    assert task.decode(problem.prompt + problem.solution) == "+1 +1 x3 x3 +9 +9 4 4 | 5 5 4"
    assert (problem.max_response, problem.exact_length, problem.task) == (3, True, "arith_chain_status")


@pytest.mark.parametrize(("said", "heard"), [
    ("5", "5"), ("5 5 5", "5"), ("5 5 5 5 4", "4"),       # right so far: the digit again
    ("6", "6!"), ("6 6! 5", "5!"), ("5 5 6 6! 4", "4!"),  # flagged from the first wrong one on, the right 4 too
    ("x3", "x3"), ("6 6! PAD", "PAD"), ("7!", "7!"),      # no plain digit: again as it is
])  # fmt: skip
def test_the_copy_of_a_digit_is_flagged_from_the_first_wrong_one_on(said, heard):
    task = status(length=3, short_length=1)
    assert task.decode(task.observe(by_hand(task), written(task, said))) == heard


def test_only_all_digits_right_score_whatever_was_said_in_between():
    task = status(length=3, short_length=1)
    problem = by_hand(task)
    for text, solved in (("5 5 5 5 4", True), ("5 5 6 6! 4", False), ("5 5 5 5", False)):
        assert task.score(problem, written(task, text)) == (float(solved), solved)


def test_steps_are_the_places_of_sampled_digits():
    task = status(length=3, short_length=1)
    assert task.steps(by_hand(task), written(task, "5 5 6 6! 4")) == [2, 4]


def test_problems_are_those_of_the_plain_chain_and_sixty_of_each_short_length():
    task, chain = status(), ArithChain(**(NUMBERS | {"num_short": 0}))
    train, hard = task.train_problems(), chain.train_problems()
    assert [p.prompt[::2] for p in train[:64] + task.eval_problems()] == [
        p.prompt for p in hard + chain.eval_problems()
    ]
    assert all(p.prompt[::2] == p.prompt[1::2] for p in train)
    assert [p.max_response for p in train[64:]] == [1] * 60 + [2] * 60 + [3] * 60
    assert {p.difficulty for p in train[64:]} == {"easy"} and len({p.id for p in train}) == 244


def test_the_fingerprint_names_every_number_and_is_not_the_plain_chains():
    prints = {status(**change).fingerprint for change in ({}, {"seed": 1}, {"num_short": 4}, {"short_length": 2})}
    assert len(prints) == 4 and ArithChain(**NUMBERS).fingerprint not in prints


@pytest.mark.parametrize(("change", "words"), [
    ({"short_length": 0}, "task.short_length is 0"), ({"num_short": 61}, "task.num_short is 61"),
    ({"length": 1}, "task.length is 1"),
])  # fmt: skip
def test_impossible_numbers_are_refused_by_key(change, words):
    with pytest.raises(ValueError, match=words):
        status(**change)


# ------------------------------------------------------------------------------------------ rows that nobody samples


def test_what_is_said_to_a_written_response_ends_with_the_response():
    task = status(length=3, short_length=1)
    problem = by_hand(task)
    assert with_given(task, problem, ()) == ()
    assert with_given(task, problem, task.encode("5 6")) == written(task, "5 5 6 6!")
    assert with_given(task, problem, problem.solution) == written(task, "5 5 5 5 4")
    chain = ArithChain(**NUMBERS)
    assert with_given(chain, problem, problem.solution) == problem.solution   # a task that says nothing


def test_demonstrations_are_those_of_the_plain_chain_and_their_flags_follow_their_first_wrong_step():
    task, chain = status(), ArithChain(**NUMBERS)
    rows = task.demonstrations(300, rng.generator(0, "test"))
    assert [said for _, said in rows] == [said for _, said in chain.demonstrations(300, rng.generator(0, "test"))]
    right = flagged = 0
    for problem, said in rows:
        copies = [t for t in with_given(task, problem, said) if t < 0]
        wrong = next((i for i, (a, b) in enumerate(zip(said, problem.solution, strict=True)) if a != b), len(said))
        assert plain(tuple(copies)) == tuple(t if i < wrong else t + 22 for i, t in enumerate(said[:-1]))
        right, flagged = right + wrong, flagged + len(said) - wrong
    assert right > 300 and flagged > 300


def test_the_operator_of_every_step_stands_at_one_distance_from_the_token_that_its_step_reads():
    from rrl.policy.layout import action_layout

    task = status()
    for problem in (task.train_problems()[0], task.train_problems()[-1]):   # 12 steps and 3
        rows = sequences_of([(Start(problem=problem), with_given(task, problem, problem.solution))])
        read = action_layout(rows, pad=task.pad)
        assert read.column.tolist() == [25 + 2 * j for j in range(len(problem.solution))]
        copies = [read.ids[0, column].item() for column in read.column.tolist()]
        assert copies == [problem.prompt[-1], *problem.solution[:-1]]


# ------------------------------------------------------------------------------------------ sampled and given apart


def test_sampling_and_scoring_read_the_same_context_and_budget_counts_digits_only():
    task = status(**SMALL)
    policy, bare = policy_of(task), [Start(problem=p) for p in task.train_problems()]
    right = [Start(problem=p, prefix=with_given(task, p, task.right_prefix(p))) for p in task.train_problems()[:3]]
    rollouts = policy.rollout(bare + right, samples_per_start=8, step=0)
    rows = rollouts.sequences
    logprob, _ = policy.logprob(rows)
    torch.testing.assert_close(logprob, rollouts.behavior_logprob, rtol=0, atol=1e-6)
    assert rollouts.ended.all() and rows.lengths.tolist() == [4] * 24 + [1] * 16 + [2] * 16 + [2] * 24
    blank = torch.zeros(len(rows.actions))
    scored = Scored(rollouts=rollouts, score=torch.zeros(rows.num_rows), reward=blank,
                    solved=torch.zeros(rows.num_rows, dtype=torch.bool))
    attempts = attempts_of(
        Estimated(scored=scored, value=blank, success=blank, advantage=blank, target_return=blank)
    )
    assert sum(a.num_sampled for a in attempts) == len(rows.actions) == 4 * 24 + 16 + 2 * 40
    for attempt in attempts:
        own = sampled(attempt.response)
        assert attempt.response == with_given(task, attempt.start.problem, own)


def test_exact_success_is_the_chance_that_sampling_is_right():
    task = status(**(SMALL | {"length": 2, "num_hard": 2, "short_length": 1}))
    policy = policy_of(task)
    numbers = {"every_steps": 1, "dense_every": 1, "dense_until": 0}
    found = Exact(policy=policy, task=task, value=Flags(), **numbers).now(
        Progress(step=0, sampled_tokens=0, token_budget=1, history=(), first=None, peak=None)
    )
    by_chain_rule, behind = [], []
    for p in task.train_problems()[:2]:
        first, second = p.solution
        alone = float(policy.logprob(sequences_of([(Start(problem=p), (first,))]))[0])
        behind.append(float(policy.logprob(sequences_of([
            (Start(problem=p, prefix=(first, *given((first,)))), (second,))     # the copy of a right digit is plain
        ]))[0]))
        by_chain_rule.append(alone + behind[-1])
    assert found["eval/hard_success"] == pytest.approx(np.mean(np.exp(by_chain_rule)), rel=1e-6)
    assert found["eval/capability"] == pytest.approx(np.mean(np.exp(behind)), rel=1e-6)
    assert found["eval/right_key_auc"] == 1.0     # flags tell the wrong ones
    starts = [Start(problem=task.train_problems()[0])]
    rows = policy.rollout(starts, samples_per_start=5_000, step=0).sequences
    share = np.mean([sampled(said) == starts[0].problem.solution for said in rows.all_tokens()])
    assert share == pytest.approx(math.exp(by_chain_rule[0]), abs=4 * math.sqrt(math.exp(by_chain_rule[0]) / 5_000))


class Flags:
    """Believes in what was never flagged: ids 23.. are flagged digits."""

    def success(self, starts):
        return np.array([float(max(s.context) < 23) for s in starts]), np.zeros(len(starts))


def test_oracles_store_what_was_said_inside_the_solution():
    task = status(**SMALL)
    p = task.train_problems()[0]
    whole = with_given(task, p, p.solution)
    attempt = an_attempt(p, whole)
    for name, ends in (("canonical", [4]), ("trace_cuts", [2, 4, 6])):
        admission = make(option("admission", name), "replay.admission", task=task)
        proposed = admission.propose(attempt, [], None, 3)
        assert [prefix.tokens for prefix in proposed] == [whole[:end] for end in ends]
        assert [prefix.depth_frac for prefix in proposed] == [end / 8 for end in ends]
