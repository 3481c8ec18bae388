"""Laws of ``Reward`` and ``Recall``: rows keep their order, failures are dropped and counted, nothing pays a prefix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rrl.build import House
from rrl.types import Rollouts, Start, sequences_of
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


@every("recall")
def test_recall_keeps_the_rows_that_were_sampled_and_none_is_the_identity(bench: Bench, option: str) -> None:
    house = bench.house("recall", option)
    recall = bench.make("recall", option)
    rollouts = rollouts_of(house)
    recalled = recall.recall(rollouts)
    num = rollouts.sequences.num_rows
    kept = recalled.rows(torch.arange(num))
    assert [kept.sequences.tokens_of(i) for i in range(num)] == [rollouts.sequences.tokens_of(i) for i in range(num)]
    assert torch.equal(kept.behavior_logprob, rollouts.behavior_logprob)
    # What is appended carries its own behaviour log-probs.
    assert len(recalled.behavior_logprob) == len(recalled.sequences.actions)
    assert bool(recalled.behavior_logprob.isfinite().all())
    if option == "none":
        assert recalled is rollouts


def test_shaping_with_no_price_is_the_base_reward(bench: Bench) -> None:
    house = bench.house("reward", "kl_shaped")
    free = bench.make("reward", "kl_shaped", "reward.beta=0.0")
    rollouts = rollouts_of(house)
    plain = bench.make("reward", "task").score(rollouts)
    assert torch.equal(free.score(rollouts).reward, plain.reward)
    priced = house.reward.score(replace(rollouts, behavior_logprob=rollouts.behavior_logprob + 1.0))
    less = house.reward.score(rollouts).reward - priced.reward  # one nat more, .05 less on every token
    torch.testing.assert_close(less, torch.full_like(less, 0.05), rtol=0, atol=1e-5)
