"""Laws of ``Reward`` and ``Recall``: rows keep their order, failures are dropped and counted, nothing pays a prefix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rrl.build import House
from rrl.records import Progress
from rrl.types import Rollouts, Scored, Start, sequences_of
from tests.contract.bench import Bench
from tests.contract.doubles import FailingTask
from tests.contract.options import every


def rollouts_of(house: House, *, samples: int = 3) -> Rollouts:
    problems = house.task.train_problems()
    starts = [
        *(Start(problem=p) for p in problems[:5]),
        *(Start(problem=p, prefix=p.solution[:1]) for p in problems[:2]),
    ]
    return house.policy.rollout(starts, samples_per_start=samples, step=0)


def fixed_rows(house: House, rows: list[tuple[Start, tuple[int, ...]]]) -> Rollouts:
    sequences = sequences_of(rows)
    logprob, entropy = house.policy.logprob(sequences)
    ended = torch.ones(len(rows), dtype=torch.bool)
    return Rollouts(sequences=sequences, behavior_logprob=logprob - 0.5, behavior_entropy=entropy, ended=ended)


@every("reward")
def test_rows_keep_their_order_and_are_judged_by_the_task_whole(bench: Bench, option: str) -> None:
    house = bench.house("reward", option)
    rollouts = rollouts_of(house)
    scored = house.reward.score(rollouts)
    assert scored.rollouts.sequences == rollouts.sequences and house.reward.dropped == 0
    assert scored.reward.shape == rollouts.behavior_logprob.shape and bool(scored.reward.isfinite().all())
    for i in range(rollouts.sequences.num_rows):
        start = rollouts.sequences.start_of(i)
        outcome = house.task.score(start.problem, start.prefix + rollouts.sequences.tokens_of(i))
        assert float(scored.score[i]) == pytest.approx(outcome.score) and bool(scored.solved[i]) == outcome.solved


@every("reward")
def test_rewards_stand_on_sampled_tokens_only(bench: Bench, option: str) -> None:
    house = bench.house("reward", option)
    problem = house.task.train_problems()[0]
    uncut = house.reward.score(fixed_rows(house, [(Start(problem=problem), problem.solution)]))
    replayed = Start(problem=problem, prefix=problem.solution[:2])
    cut = house.reward.score(fixed_rows(house, [(replayed, problem.solution[2:])]))
    assert bool(cut.solved[0]) and float(cut.score[0]) == float(uncut.score[0])
    torch.testing.assert_close(cut.reward, uncut.reward[2:], rtol=0, atol=1e-5)


@every("reward")
def test_a_group_whose_reward_fails_is_dropped_and_counted_never_zero(bench: Bench, option: str) -> None:
    house = bench.house("reward", option)
    names = [p.id for p in house.task.train_problems()]
    reward = bench.make("reward", option, task=FailingTask(house.task, raises=names[0], nan=names[3]))
    rollouts = rollouts_of(house)
    scored = reward.score(rollouts)
    # Problems 0 and 3 bare, and problem 0 replayed: three groups of three rows.
    assert reward.dropped == 9
    sequences = rollouts.sequences
    left = [i for i in range(sequences.num_rows) if sequences.start_of(i).problem.id not in (names[0], names[3])]
    expected = house.reward.score(rollouts).rows(torch.tensor(left))
    assert torch.equal(scored.score, expected.score)
    torch.testing.assert_close(scored.reward, expected.reward, rtol=0, atol=1e-5)
    assert torch.equal(scored.rollouts.sequences.actions, expected.rollouts.sequences.actions)
    reward.score(rollouts.rows(torch.tensor(left)))
    assert reward.dropped == 0  # of the last call


@every("reward")
def test_a_batch_that_fails_whole_is_no_rows_and_no_crash(bench: Bench, option: str) -> None:
    house = bench.house("reward", option)
    name = house.task.train_problems()[0].id
    reward = bench.make("reward", option, task=FailingTask(house.task, raises=name, nan=name))
    start = Start(problem=house.task.train_problems()[0])
    scored = reward.score(house.policy.rollout([start], samples_per_start=2, step=0))
    assert reward.dropped == 2 and len(scored.score) == len(scored.reward) == 0


def at(step: int) -> Progress:
    return Progress(step=step, sampled_tokens=0, token_budget=1000, history=(), first=None, peak=None)


@every("recall")
def test_recall_keeps_the_rows_that_were_sampled_and_none_is_the_identity(bench: Bench, option: str) -> None:
    house = bench.house("recall", option)
    recall = bench.make("recall", option)
    rollouts = rollouts_of(house)
    num = rollouts.sequences.num_rows
    assert recall.recall(rollouts, at(0)) is rollouts  # nothing is remembered yet
    for step in range(3):  # rewards of a policy that got some right: what is stored are its own rows
        assert len(recall.starts(at(step), 8)) <= 8
        recall.remember(two_thirds_solved(house.reward.score(rollouts)), at(step))
    wanted = recall.starts(at(3), 8)
    assert all(not s.replayed and not s.recalled for s in wanted)
    asked = rollouts_of(house) if not wanted else house.policy.rollout(wanted, samples_per_start=3, step=3)
    num = asked.sequences.num_rows
    recalled = recall.recall(asked, at(3))
    kept = recalled.rows(torch.arange(num))
    assert [kept.sequences.tokens_of(i) for i in range(num)] == [asked.sequences.tokens_of(i) for i in range(num)]
    assert torch.equal(kept.behavior_logprob, asked.behavior_logprob)
    # What is appended is marked, from a bare prompt, and carries its own behaviour log-probs.
    behind = [recalled.sequences.start_of(i) for i in range(num, recalled.sequences.num_rows)]
    assert all(s.recalled and not s.prefix for s in behind) and bool(behind) == (option != "none")
    assert len(recalled.behavior_logprob) == len(recalled.sequences.actions)
    assert bool(recalled.behavior_logprob.isfinite().all())
    if option == "none":
        assert recalled is asked


@every("recall")
def test_a_memory_that_is_saved_and_loaded_recalls_the_same(bench: Bench, option: str) -> None:
    house = bench.house("recall", option)
    first, second = bench.make("recall", option), bench.make("recall", option)
    rollouts = rollouts_of(house)
    for step in range(2):
        first.remember(two_thirds_solved(house.reward.score(rollouts)), at(step))
    second.load_state_dict(first.state_dict())
    again = two_thirds_solved(house.reward.score(house.policy.rollout(
        [Start(problem=p) for p in house.task.train_problems()[:5]], samples_per_start=3, step=2
    )))
    for recall in (first, second):
        recall.remember(again, at(2))
    mine, theirs = ([s.key for s in recall.starts(at(3), 6)] for recall in (first, second))
    assert mine == theirs
    mine, theirs = (recall.recall(rollouts, at(3)) for recall in (first, second))
    assert torch.equal(mine.sequences.actions, theirs.sequences.actions)
    assert torch.equal(mine.behavior_logprob, theirs.behavior_logprob)


def two_thirds_solved(scored: Scored) -> Scored:
    """The last two rows of each group of three are solved."""
    solved = torch.arange(len(scored.solved)) % 3 != 0
    return replace(scored, solved=solved, score=solved.float())


def test_shaping_with_no_price_is_the_base_reward(bench: Bench) -> None:
    house = bench.house("reward", "kl_shaped")
    free = bench.make("reward", "kl_shaped", "reward.beta=0.0")
    rollouts = rollouts_of(house)
    plain = bench.make("reward", "task").score(rollouts)
    assert torch.equal(free.score(rollouts).reward, plain.reward)
    priced = house.reward.score(replace(rollouts, behavior_logprob=rollouts.behavior_logprob + 1.0))
    less = house.reward.score(rollouts).reward - priced.reward  # one nat more, .05 less on every token
    torch.testing.assert_close(less, torch.full_like(less, 0.05), rtol=0, atol=1e-5)
