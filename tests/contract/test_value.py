"""Laws of ``ValueEstimator``: it owns the advantage, and P(solved) is a probability."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra.utils import get_class

from rrl.build import House
from rrl.metrics import CATALOGUE
from rrl.protocols import ValueEstimator
from rrl.types import Estimated, Scored, Start, sequences_of
from tests.contract.bench import Bench, progress_at
from tests.contract.options import CONF, every, node_of, options


def is_critic(option: str) -> bool:
    """A critic reads token rows, with a network of the policy's family or a model of its own, for which it asks."""
    cls = get_class(str(node_of(CONF / "value" / f"{option}.yaml")["_target_"]))
    return bool({"policy", "model"} & set(inspect.signature(cls).parameters))


CRITICS = [option for option in options("value") if is_critic(option)]
CRITIC_FREE = [option for option in options("value") if not is_critic(option)]


def some_starts(house: House) -> list[Start]:
    """Six starts, bare ones and replayed ones."""
    problems = [replace(p, max_response=8) for p in house.task.train_problems()[:4]]
    return [*(Start(problem=p) for p in problems), *(Start(problem=p, prefix=(6, 8)) for p in problems[:2])]


def scored_rows(house: House, *, step: int = 0, samples: int = 4) -> Scored:
    """Real rollouts with made-up verdicts: rewards on every token, a third of the rows solved."""
    rollouts = house.policy.rollout(some_starts(house), samples_per_start=samples, step=step)
    scored = house.reward.score(rollouts)
    generator = torch.Generator().manual_seed(step)
    reward = torch.rand(len(scored.reward), generator=generator) / 8
    return replace(scored, reward=reward, solved=torch.rand(len(scored.score), generator=generator) < 0.3)


def step_is_a_token(option: str) -> tuple[str, ...]:
    """Changes that let an estimator of reasoning steps value the state before each token."""
    node = node_of(CONF / "value" / f"{option}.yaml")
    token = ("value.cut._target_=rrl.replay.cut.token.TokenCut", "+value.cut.every=1", "+value.cut.t_min=1")
    return token if "cut" in node else ()


def fitted(bench: Bench, option: str, *changes: str) -> tuple[House, ValueEstimator]:
    """A house and an estimator of its own that has seen three steps."""
    house = bench.house("value", option, *changes)
    value = bench.make("value", option, *changes)
    for step in range(3):
        value.fit(value.estimate(scored_rows(house, step=step)), progress_at(step))
    return house, value


def numbers(estimated: Estimated) -> list[torch.Tensor]:
    return [estimated.value, estimated.success, estimated.advantage, estimated.target_return]


@every("value")
def test_success_is_a_probability_with_a_spread_also_when_rows_say_so(bench: Bench, option: str) -> None:
    house, value = fitted(bench, option)
    starts = some_starts(house)
    mean, std = value.success(starts)
    assert mean.shape == std.shape == (len(starts),)
    assert np.isfinite(mean).all() and (mean >= 0.0).all() and (mean <= 1.0).all()
    assert np.isfinite(std).all() and (std >= 0.0).all()
    estimated = value.estimate(scored_rows(house))
    assert all(bool(x.isfinite().all()) for x in numbers(estimated))
    assert float(estimated.success.min()) >= 0.0 and float(estimated.success.max()) <= 1.0
    # What a row's first token is told of its start is what replay is told of it.
    index = estimated.sequences.start_index
    torch.testing.assert_close(
        estimated.success[estimated.sequences.offsets[:-1]].double(), torch.from_numpy(mean)[index], rtol=0, atol=1e-5
    )


@every("value")
def test_success_of_a_start_does_not_depend_on_the_others(bench: Bench, option: str) -> None:
    house, value = fitted(bench, option)
    starts = some_starts(house)
    mean = value.success(starts)[0]
    assert value.success(starts[::-1])[0] == pytest.approx(mean[::-1], abs=1e-6)
    assert np.concatenate([value.success([s])[0] for s in starts]) == pytest.approx(mean, abs=1e-6)
    assert len(value.success([])[0]) == 0


@every("value")
def test_estimating_keeps_the_rows_and_learns_nothing(bench: Bench, option: str) -> None:
    house, value = fitted(bench, option)
    scored = scored_rows(house)
    first, second = value.estimate(scored), value.estimate(scored)
    assert first.scored is scored
    assert all(torch.equal(a, b) for a, b in zip(numbers(first), numbers(second), strict=True))


@pytest.mark.parametrize("option", CRITICS)
def test_a_critics_advantage_of_a_row_depends_on_that_row_alone(bench: Bench, option: str) -> None:
    house, value = fitted(bench, option)
    scored = scored_rows(house)
    whole = value.estimate(scored)
    assert float(whole.value.std()) > 1e-4  # else a constant would pass
    num = scored.rollouts.sequences.num_rows
    for index in (torch.arange(num).flip(0), torch.arange(1, num, 3), torch.tensor([5])):
        part = value.estimate(scored.rows(index))
        for one, other in zip(numbers(part), numbers(whole.rows(index)), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("option", CRITIC_FREE)
@pytest.mark.parametrize("reward", [0.0, 0.4, 1.0])
def test_a_critic_free_estimator_gives_no_advantage_where_all_rewards_are_equal(
    bench: Bench, option: str, reward: float
) -> None:
    house, value = fitted(bench, option)
    scored = scored_rows(house)
    last = torch.zeros_like(scored.reward)
    last[scored.rollouts.sequences.offsets[1:] - 1] = reward
    assert not value.estimate(replace(scored, reward=last)).advantage.any()


@pytest.mark.parametrize("option", CRITIC_FREE)
def test_a_critic_free_advantage_does_not_depend_on_the_order_of_rows(bench: Bench, option: str) -> None:
    house, value = fitted(bench, option)
    scored = scored_rows(house)
    index = torch.arange(scored.rollouts.sequences.num_rows).flip(0)
    whole, turned = value.estimate(scored), value.estimate(scored.rows(index))
    assert whole.advantage.any()
    torch.testing.assert_close(turned.advantage, whole.rows(index).advantage, rtol=0, atol=1e-6)


@every("value")
@pytest.mark.parametrize("row", [0, 20])
def test_one_row_alone_is_estimated_and_fitted_with_finite_numbers(bench: Bench, option: str, row: int) -> None:
    house, value = fitted(bench, option)
    estimated = value.estimate(scored_rows(house).rows(torch.tensor([row])))
    assert all(bool(x.isfinite().all()) for x in numbers(estimated))
    for step in (-1, 0):
        assert all(np.isfinite(x) for x in value.fit(estimated, progress_at(step)).values())
    assert np.isfinite(value.success(some_starts(house))[0]).all()


@every("value")
def test_nothing_before_the_boundary_enters_a_replayed_row(bench: Bench, option: str) -> None:
    house, value = fitted(bench, option, *step_is_a_token(option))
    problem = replace(house.task.train_problems()[0], max_response=8)
    response, reward = (7, 9, 11, 6, 8), torch.tensor([0.3, 0.9, 0.1, 0.0, 0.5])

    def estimate(row: tuple[Start, tuple[int, ...]], reward: torch.Tensor) -> Estimated:
        sequences = sequences_of([row])
        logprob, entropy = house.policy.logprob(sequences)
        rollouts = replace(scored_rows(house, samples=1).rollouts.rows(torch.tensor([0])), sequences=sequences,
                           behavior_logprob=logprob, behavior_entropy=entropy, ended=torch.tensor([True]))  # fmt: skip
        no = torch.tensor([False])
        return value.estimate(Scored(rollouts=rollouts, score=torch.zeros(1), solved=no, reward=reward))

    replayed = estimate((Start(problem=problem, prefix=response[:2]), response[2:]), reward[2:])
    assert all(len(x) == 3 for x in numbers(replayed))
    if not is_critic(option):
        return  # a group's mean knows starts, not token rows: that each start is a group of its own is a unit test
    uncut = estimate((Start(problem=problem), response), reward)
    loud = estimate((Start(problem=problem), response), reward + torch.tensor([5.0, -3.0, 0, 0, 0]))
    for one, other in zip(numbers(replayed), numbers(uncut), strict=True):
        torch.testing.assert_close(one, other[2:], rtol=0, atol=1e-5)
    for one, other in zip(numbers(loud), numbers(uncut), strict=True):
        torch.testing.assert_close(one[2:], other[2:], rtol=0, atol=1e-6)


@every("value")
def test_fit_reports_finite_metrics_of_known_names_and_leaves_the_policy_alone(bench: Bench, option: str) -> None:
    house, value = fitted(bench, option)
    before = [p.detach().clone() for p in house.policy.parameters()]
    metrics = value.fit(value.estimate(scored_rows(house)), progress_at(3))
    assert metrics and not set(metrics) - CATALOGUE.keys() and all(np.isfinite(x) for x in metrics.values())
    assert all(torch.equal(a, b) for a, b in zip(before, house.policy.parameters(), strict=True))
    assert all(p.grad is None for p in house.policy.parameters())


@every("value")
def test_saved_loaded_and_continued_equals_never_stopped(bench: Bench, option: str) -> None:
    house, value = fitted(bench, option)
    other = bench.make("value", option)
    other.load_state_dict(bench.through_disk(value.state_dict()))
    for estimator in (value, other):
        estimator.fit(estimator.estimate(scored_rows(house, step=3)), progress_at(3))
    one, two = (v.estimate(scored_rows(house, step=4)) for v in (value, other))
    assert all(torch.equal(a, b) for a, b in zip(numbers(one), numbers(two), strict=True))
    for a, b in zip(value.success(some_starts(house)), other.success(some_starts(house)), strict=True):
        assert np.array_equal(a, b)
