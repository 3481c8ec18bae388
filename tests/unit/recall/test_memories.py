"""Stored whole answers: what is kept, what comes back, and which problems are asked for; numbers by hand."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rrl.recall.exgrpo import ExGRPO, bucket_weight
from rrl.recall.memory import Answer, Memory, answers_of
from rrl.recall.repo import RePO, chosen, most_spread
from rrl.recall.rlep import RLEP
from rrl.types import Start
from tests.unit.learner.tabular import SoloRanks, ThreadRanks, problem, progress, rollouts_of, scored_of

A, B, C = (Start(problem=problem(name)) for name in "abc")


def answer(score, *tokens, of="a", step=0):
    logprob = np.full(len(tokens), -1.0, dtype=np.float32)
    return Answer(
        problem=of, tokens=tokens, logprob=logprob, entropy=-logprob, score=score, solved=score == 1.0, ended=True,
        step=step,
    )


def lived(rows):
    """Rows [(start, tokens, score)] as a scored step; a score of 1 is solved."""
    return scored_of([(start, tokens) for start, tokens, _ in rows], [score for *_, score in rows])


def words(rollouts):
    sequences = rollouts.sequences
    return [(sequences.start_of(i).problem.id, sequences.start_of(i).recalled, sequences.tokens_of(i))
            for i in range(sequences.num_rows)]


# ------------------------------------------------------------------------------------------ memory


def test_a_problem_keeps_its_newest_answers_and_one_of_two_equal_ones():
    memory = Memory(capacity=2, distinct=True)
    memory.add([answer(1.0, 1)])
    memory.add([answer(1.0, 2)])
    memory.add([answer(1.0, 1, step=5)])  # said again: its newer log-probs take the place of the older
    assert [(a.tokens, a.step) for a in memory.of("a")] == [((2,), 0), ((1,), 5)]
    memory.add([answer(1.0, 3)])
    assert [a.tokens for a in memory.of("a")] == [(1,), (3,)] and len(memory) == 2
    both = Memory(capacity=3, distinct=False)
    both.add([answer(1.0, 1), answer(1.0, 1)])
    assert len(both) == 2


def test_the_order_of_a_steps_rows_does_not_matter():
    step = [answer(1.0, 3), answer(0.0, 1), answer(1.0, 2, of="b"), answer(1.0, 2)]
    one, other = Memory(capacity=2, distinct=False), Memory(capacity=2, distinct=False)
    one.add(step)
    other.add(step[::-1])
    assert [a.tokens for a in one.of("a")] == [a.tokens for a in other.of("a")] == [(2,), (3,)]


def test_a_memory_comes_back_from_its_columns():
    memory = Memory(capacity=3, distinct=True)
    memory.add([answer(0.5, 1, 2, 3), answer(1.0, 4), answer(0.0, -3, 2, of="b", step=7)][:2])
    given = replace(answer(0.0, -3, 2, of="b", step=7), logprob=np.array([-0.25], np.float32),
                    entropy=np.array([0.5], np.float32))  # -3 stands for a token that the environment gave
    memory.add([given])
    again = Memory(capacity=3, distinct=True)
    again.load_state_dict(memory.state_dict())
    assert again.problems == ["a", "b"]
    for problem_id in again.problems:
        for mine, theirs in zip(again.of(problem_id), memory.of(problem_id), strict=True):
            assert (mine.tokens, mine.score, mine.solved, mine.ended, mine.step) == (
                theirs.tokens, theirs.score, theirs.solved, theirs.ended, theirs.step)
            assert np.array_equal(mine.logprob, theirs.logprob) and np.array_equal(mine.entropy, theirs.entropy)


def test_only_rows_from_a_bare_prompt_are_remembered_with_the_logprobs_they_were_sampled_with():
    replayed = Start(problem=A.problem, prefix=(1,))
    scored = lived([(A, (2, 3), 1.0), (replayed, (3,), 1.0)])
    found = answers_of(scored, 4, SoloRanks())
    assert [(a.problem, a.tokens, a.step, a.solved) for a in found] == [("a", (2, 3), 4, True)]
    assert found[0].logprob.tolist() == scored.rollouts.behavior_logprob[:2].tolist()


def test_all_ranks_remember_the_same():
    parts = [lived([(A, (2,), 1.0)]), lived([(B, (3,), 1.0), (A, (1,), 0.0)])]

    def of_rank(r):
        return lambda ranks: [(a.problem, a.tokens) for a in answers_of(parts[r], 0, ranks)]

    one, two = ThreadRanks.together([of_rank(0), of_rank(1)])
    assert one == two == [("a", (2,)), ("b", (3,)), ("a", (1,))]


# -------------------------------------------------------------------------------------------- rlep


def test_rlep_recalls_solved_answers_of_the_problem_at_hand_into_its_group():
    rlep = RLEP(seed=0, ranks=SoloRanks(), num_answers=2, capacity=4)
    rlep.remember(lived([(A, (1,), 1.0), (A, (2,), 0.0), (B, (3,), 1.0)]), progress())
    now = rollouts_of([(A, (4,)), (C, (4,))])
    assert words(rlep.recall(now, progress(step=1))) == [("a", "", (4,)), ("c", "", (4,)), ("a", "joined", (1,))]


def test_rlep_draws_other_answers_in_another_step_and_the_same_in_the_same():
    rlep = RLEP(seed=0, ranks=SoloRanks(), num_answers=1, capacity=8)
    rlep.remember(lived([(A, (i, j), 1.0) for i in (1, 2) for j in (1, 2, 3, 4)]), progress())
    now = rollouts_of([(A, (4,))])
    drawn = [words(rlep.recall(now, progress(step=s)))[1][2] for s in range(12)]
    assert drawn == [words(rlep.recall(now, progress(step=s)))[1][2] for s in range(12)] and len(set(drawn)) > 2


@pytest.mark.parametrize(("num", "capacity"), [(0, 4), (5, 4)])
def test_rlep_refuses_numbers_that_cannot_be(num, capacity):
    with pytest.raises(ValueError, match="recall.num_answers"):
        RLEP(seed=0, ranks=SoloRanks(), num_answers=num, capacity=capacity)


# -------------------------------------------------------------------------------------------- repo


def test_the_four_strategies_of_repo_choose_as_the_paper_says():
    stored = [answer(0.2, 1), answer(1.0, 2), answer(0.0, 3), answer(1.0, 4), answer(0.4, 5)]

    def tokens(strategy, num):
        return [a.tokens[0] for a in chosen(stored, strategy, num)]

    assert tokens("full", 1) == [1, 2, 3, 4, 5]
    assert tokens("recency", 2) == [4, 5]
    assert tokens("reward", 3) == [2, 4, 5]
    assert tokens("variance", 2) == [2, 3] or tokens("variance", 2) == [3, 4]  # (0, 1): variance 1/4
    assert sorted(stored[i].score for i in most_spread([a.score for a in stored], 4)) == [0.0, 0.2, 1.0, 1.0]


def test_the_most_spread_scores_are_those_of_a_search_through_all_sets():
    from itertools import combinations

    generator = np.random.default_rng(0)
    for num in (2, 3, 4):
        scores = generator.integers(0, 5, 7) / 4
        best = max(np.var(scores[list(places)]) for places in combinations(range(7), num))
        assert np.var(scores[most_spread(scores.tolist(), num)]) == pytest.approx(best)


def test_repo_keeps_failed_answers_too_and_recalls_them_apart():
    repo = RePO(ranks=SoloRanks(), strategy="full", num_answers=1, capacity=4, min_answers=2, advantages="apart")
    repo.remember(lived([(A, (1,), 1.0), (A, (2,), 0.0), (B, (3,), 1.0)]), progress())
    recalled = repo.recall(rollouts_of([(A, (4,)), (B, (4,))]), progress(step=1))
    assert words(recalled)[2:] == [("a", "apart", (1,)), ("a", "apart", (2,))]  # b has one answer: no baseline
    groups = [recalled.sequences.start_of(i).group for i in range(4)]
    assert groups[2] == groups[3] != groups[0]


# ------------------------------------------------------------------------------------------ exgrpo


class Unsure:
    """A policy that is the surer of an answer, the larger its first token."""

    def logprob(self, sequences):
        return torch.zeros(len(sequences.actions)), 5.0 - sequences.actions.double()


def exgrpo(**numbers):
    task = SimpleNamespace(train_problems=lambda: [A.problem, B.problem, C.problem])
    return ExGRPO(**{
        "seed": 0, "ranks": SoloRanks(), "task": task, "policy": Unsure(), "share": 0.5, "num_buckets": 4,
        "sigma": 0.25,
        "start_at": 0.0, "capacity": 4,
    } | numbers)  # fmt: skip


def step_of(**solved):
    """Four rows a problem, so many of them solved."""
    starts = {"a": A, "b": B, "c": C}
    return lived([(starts[p], (1 + i % 4,), float(i < n)) for p, n in solved.items() for i in range(4)])


def test_the_weight_of_a_bucket_is_the_gaussian_of_the_paper():
    assert bucket_weight(0.5, 0.25) == 1.0
    assert bucket_weight(0.25, 0.25) == pytest.approx(math.exp(-0.5))


def test_exgrpo_asks_for_half_mastered_problems_and_retires_mastered_ones():
    memory = exgrpo()
    metrics = memory.remember(step_of(a=2, b=4, c=0), progress())
    assert metrics == {"recall/size": 2.0, "recall/problems": 1.0, "recall/retired": 1.0}
    assert [s.problem.id for s in memory.starts(progress(step=1), 4)] == ["a"]  # two of four starts, one is stored
    memory.remember(step_of(b=2), progress(step=1))  # once retired, for good
    assert [s.problem.id for s in memory.starts(progress(step=2), 4)] == ["a"]


def test_exgrpo_recalls_the_answer_that_the_policy_is_surest_of():
    memory = exgrpo()
    memory.remember(step_of(a=3), progress())
    wanted = memory.starts(progress(step=1), 4)
    recalled = memory.recall(rollouts_of([(B, (4,)), *((s, (4,)) for s in wanted)]), progress(step=1))
    assert words(recalled)[2:] == [("a", "joined", (3,))]


def test_exgrpo_waits_until_a_step_was_solved_often_enough():
    memory = exgrpo(start_at=0.6)
    memory.remember(step_of(a=2), progress())
    assert memory.starts(progress(step=1), 4) == []
    memory.remember(step_of(a=3, b=2), progress(step=1))  # 5 of 8
    assert len(memory.starts(progress(step=2), 4)) == 2


def test_a_problem_in_the_middle_is_asked_for_more_often_than_one_at_the_edge():
    memory = exgrpo(sigma=0.15)
    memory.remember(step_of(a=2, b=1), progress())
    asked = [memory.starts(progress(step=s), 2)[0].problem.id for s in range(200)]
    share = 1 / (1 + bucket_weight(0.25, 0.15))  # of the two buckets
    assert abs(asked.count("a") / 200 - share) < 0.1


@pytest.mark.parametrize("numbers", [{"share": 0.0}, {"num_buckets": 1}, {"sigma": 0.0}, {"start_at": 1.5}])
def test_exgrpo_refuses_numbers_that_cannot_be(numbers):
    with pytest.raises(ValueError, match=f"{next(iter(numbers))}"):
        exgrpo(**numbers)
