"""Numbers that go wrong in a real small run: what is refused, what is survived, and that neither is silent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from rrl import loop
from rrl.build import House
from rrl.learner import NonFiniteLoss
from rrl.records import Progress
from rrl.saver import first_progress
from rrl.stages import NonFiniteLogprob, NothingScored, terms_of
from rrl.types import Rollouts, Start, sequences_of
from tests.contract.bench import Bench
from tests.contract.options import options
from tests.contract.test_every_option_trains import train_until, weights
from tests.sameness import Records


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    torch.set_num_threads(1)
    return Bench(tmp_path_factory.mktemp("numbers"))


class Changed:
    """``policy`` whose training rollouts are ``change``d."""

    def __init__(self, policy: Any, change: Callable[[Any, Rollouts, int], Rollouts]) -> None:
        self._policy, self._change = policy, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def rollout(self, starts: Sequence[Start], *, step: int, stream: str = "rollout", **how: Any) -> Rollouts:
        rollouts = self._policy.rollout(starts, step=step, stream=stream, **how)
        return self._change(self._policy, rollouts, step) if stream == "rollout" else rollouts


def changed(house: House, change: Callable[[Any, Rollouts, int], Rollouts]) -> tuple[House, Records]:
    records = Records(house.tracker)
    return dataclasses.replace(house, tracker=records, policy=Changed(house.policy, change)), records


def same(before: list[torch.Tensor], house: House) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, weights(house), strict=True))


# ------------------------------------------------------------------------------------------ the sampler


@pytest.mark.parametrize(("name", "bad"), [("logprob", math.nan), ("logprob", -math.inf), ("entropy", math.nan)])
def test_a_sampler_whose_numbers_are_none_stops_the_run_before_anything_is_learned_or_kept(
    bench: Bench, name: str, bad: float
) -> None:
    def breaks(policy: Any, rollouts: Rollouts, step: int) -> Rollouts:
        numbers = getattr(rollouts, f"behavior_{name}").clone()
        if step == 1:
            numbers[int(rollouts.sequences.offsets[3])] = bad
        return dataclasses.replace(rollouts, **{f"behavior_{name}": numbers})

    house, records = changed(bench.new_house("objective", "ppo_clip", "replay/schedule=constant"), breaks)
    seen: list[tuple[list[torch.Tensor], Any]] = []
    with pytest.raises(NonFiniteLogprob, match="sampler's log-prob is not finite at step 1: row 3 of problem '"):
        loop.train(house, loop.warm_up(house, first_progress(house.run), lambda _: None),
                   lambda _: seen.append((weights(house), house.replay.rows())))  # fmt: skip
    assert len(seen) == 1 and same(seen[-1][0], house) and house.replay.rows() == seen[-1][1]
    assert [math.isfinite(v) for m in records.metrics for v in m.values()].count(False) == 0


# ------------------------------------------------------------------------------------------ the objective


@pytest.mark.parametrize("nats", [20.0, 300.0, -300.0])
@pytest.mark.parametrize("option", options("objective"))
def test_a_ratio_that_explodes_is_bounded_or_refused_and_shows_in_the_record(
    bench: Bench, option: str, nats: float
) -> None:
    house = bench.new_house("objective", option, "learner.epochs=1", "learner.minibatches=1")
    rows = house.value.estimate(house.reward.score(house.policy.rollout(
        [Start(problem=p) for p in house.task.train_problems()[:4]], samples_per_start=2, step=0
    )))
    noise = torch.randn(len(rows.advantage), generator=torch.Generator().manual_seed(0))
    old = rows.rollouts.behavior_logprob.clone()
    old[0] += nats  # log pi_behaviour: the first token's ratio is exp(-nats)
    rollouts = dataclasses.replace(rows.rollouts, behavior_logprob=old)
    rows = dataclasses.replace(rows, advantage=noise, scored=dataclasses.replace(rows.scored, rollouts=rollouts))
    before, progress = weights(house), first_progress(house.run)
    try:
        metrics = house.learner.update(terms_of(rows, 0.0), None, progress)
    except NonFiniteLoss as refused:
        assert same(before, house) and refused.step == progress.step
        return
    assert all(bool(w.isfinite().all()) for w in weights(house))
    # The first step of Adam moves no weight by more than its learning rate, whatever the ratio.
    moved = max(float((a - b).abs().max()) for a, b in zip(before, weights(house), strict=True))
    assert 0.0 < moved < 1.001 * metrics["learn/lr"]
    assert metrics["learn/log_ratio_max_nats"] > abs(nats) - 1.0


# ------------------------------------------------------------------------------------------ rewards that are all equal


NO_CRITIC = ["batch_whiten", "group_mean", "group_norm", "leave_one_out", "tabular_posterior"]
UNDER = [("value", name) for name in NO_CRITIC] + [("objective", name) for name in options("objective")]


@pytest.mark.parametrize(("group", "option"), UNDER)
def test_equal_rewards_teach_a_policy_without_a_critic_nothing(bench: Bench, group: str, option: str) -> None:
    grouped = ["value=group_norm", "run.samples_per_start=2", "run.starts_per_step=4"] if group == "objective" else []
    house = bench.new_house(group, option, *grouped, "replay/schedule=none", "replay/admission=none")

    class Even:
        dropped = 0

        def score(self, rollouts: Rollouts) -> Any:
            scored = reward.score(rollouts)
            return dataclasses.replace(scored, score=torch.zeros_like(scored.score),
                                       reward=torch.zeros_like(scored.reward))  # fmt: skip

    reward, records, before = house.reward, Records(house.tracker), weights(house)
    house = dataclasses.replace(house, reward=Even(), tracker=records)
    train_until(house, 2, first_progress(house.run))
    assert same(before, house)
    steps = records.metrics[1:]
    assert [m["learn/zero_advantage_frac"] for m in steps] == [1.0, 1.0]
    assert [m["learn/grad_norm"] for m in steps] == [0.0, 0.0]


# ------------------------------------------------------------------------------------------ lengths


def saying(words: Callable[[Start], tuple[int, ...]], *, ended: bool) -> Callable[[Any, Rollouts, int], Rollouts]:
    """Every row says ``words`` of its start."""

    def change(policy: Any, rollouts: Rollouts, step: int) -> Rollouts:
        starts = [rollouts.sequences.start_of(i) for i in range(rollouts.sequences.num_rows)]
        sequences = sequences_of([(s, words(s)) for s in starts])
        logprob, entropy = policy.logprob(sequences)
        ends = torch.full((len(starts),), ended)
        return Rollouts(sequences=sequences, behavior_logprob=logprob, behavior_entropy=entropy, ended=ends)

    return change


def stop_at_once(start: Start) -> tuple[int, ...]:
    return start.problem.stop[:1]


def never_stop(start: Start) -> tuple[int, ...]:
    letter = next(t for t in range(40, 99) if t not in start.problem.stop)
    return (letter,) * (start.problem.max_response - len(start.prefix))


@pytest.mark.parametrize("value", ["critic", "group_norm"])
@pytest.mark.parametrize(("words", "ended"), [(stop_at_once, True), (never_stop, False)])
def test_empty_completions_and_completions_at_the_limit_are_rows_like_others(
    bench: Bench, words: Callable[[Start], tuple[int, ...]], ended: bool, value: str
) -> None:
    house = bench.new_house("task", "gsm8k", f"value={value}", "run.samples_per_start=2", "run.starts_per_step=4",
                            "replay/schedule=constant")  # fmt: skip
    house, records = changed(house, saying(words, ended=ended))
    train_until(house, 2, first_progress(house.run))
    length = 1 if ended else house.task.train_problems()[0].max_response
    for metrics in records.metrics:
        assert all(math.isfinite(v) for v in metrics.values())
        assert metrics["rollout/solved_fresh"] == 0.0 and metrics["rollout/cut_frac_fresh"] == float(not ended)
        assert metrics["rollout/length_tokens_fresh"] == length
    if ended:  # a response of one token has no strict beginning
        assert len(house.replay.rows()) == 0
    assert all(0 < len(row["tokens"]) < length for row in house.replay.rows())


# ------------------------------------------------------------------------------------------ the value


@pytest.mark.parametrize("lr", [1e3, 1e20, 1e38])
@pytest.mark.parametrize("option", ["critic", "ensemble", "quantile"])
def test_a_value_that_diverges_stays_in_its_range_or_stops_the_run_by_name(
    bench: Bench, option: str, lr: float
) -> None:
    house = bench.new_house("value", option, f"value.lr={lr}", "replay/schedule=constant")
    records = Records(house.tracker)
    house = dataclasses.replace(house, tracker=records)
    low, high = house.task.score_range
    try:
        train_until(house, 3, first_progress(house.run))
    except FloatingPointError as stopped:
        assert "value" in str(stopped) and "value.lr" in str(stopped)
        return
    success, spread = house.value.success([Start(problem=p) for p in house.task.train_problems()])
    assert np.isfinite(success).all() and np.isfinite(spread).all() and 0.0 <= success.min() <= success.max() <= 1.0
    rows = house.policy.rollout([Start(problem=house.task.train_problems()[0])], samples_per_start=4, step=9)
    value = house.value.estimate(house.reward.score(rows)).value
    assert low <= float(value.min()) <= float(value.max()) <= high


def test_progress_of_a_refused_step_is_that_of_the_last_good_one(bench: Bench) -> None:
    def breaks(policy: Any, rollouts: Rollouts, step: int) -> Rollouts:
        bad = torch.full_like(rollouts.behavior_logprob, math.nan if step == 2 else 0.0)
        return dataclasses.replace(rollouts, behavior_logprob=rollouts.behavior_logprob + bad)

    house, _ = changed(bench.new_house("objective", "ppo_clip"), breaks)
    reached: list[Progress] = []
    with pytest.raises(NonFiniteLogprob):
        loop.train(house, loop.warm_up(house, first_progress(house.run), reached.append), reached.append)
    assert [p.step for p in reached] == [0, 1, 2]


def test_a_step_of_which_no_row_could_be_scored_stops_the_run(bench: Bench) -> None:
    house = bench.new_house("objective", "ppo_clip")

    class Failing:
        dropped = 0

        def score(self, rollouts: Rollouts) -> Any:
            self.dropped = rollouts.sequences.num_rows
            return reward.score(rollouts).rows(torch.zeros(0, dtype=torch.int64))

    reward = house.reward
    house = dataclasses.replace(house, reward=Failing())
    with pytest.raises(NothingScored, match="the reward failed for every row of step -1; the log above says why"):
        loop.warm_up(house, first_progress(house.run), lambda _: None)
