"""What an environment says is context only: wherever tokens are counted, weighed or paid, it is none of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rrl import loop
from rrl.build import build
from rrl.clock import Clock
from rrl.evaluate import Sampled
from rrl.experience import experience
from rrl.exploration import Exploration
from rrl.objective.binding import token_weight
from rrl.protocols import Outcome
from rrl.ranks import Ranks
from rrl.recall.memory import Memory, answers_of
from rrl.records import Progress
from rrl.reward.task import TaskReward
from rrl.saver import first_progress
from rrl.stages import attempts_of, lesson_of
from rrl.types import Start, given, sequences_of
from rrl.value.critic import Critic
from tests.contract.options import composed
from tests.unit.learner.tabular import SoloRanks, estimated_of, problem, scored_of
from tests.unit.policy.small import Echo, start, tiny
from tests.unit.value.test_critic import ESTIMATION, FITTING

FRESH, REPLAYED = Start(problem=problem("p")), Start(problem=problem("q"), prefix=(1, *given((5,))))
ROWS = [(FRESH, (3, *given((7, 8)), 4, 2)), (REPLAYED, (4, *given((7,)), 1))]   # 3 and 2 sampled tokens


def estimated():
    return estimated_of(ROWS, advantage=[1.0, 2.0, 3.0, 4.0, 5.0], scores=[0.0, 1.0], success=[0.1, 0.2, 0.3, 0.4, 0.5])


# ------------------------------------------------------------------------------------------ stages


def test_the_value_at_a_given_token_is_that_of_the_next_action_and_its_entropy_nothing():
    rows = estimated()
    rows.rollouts.behavior_entropy.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    first, second = attempts_of(rows)
    assert first.tokens == (3, -8, -9, 4, 2) and second.response == (1, -6, 4, -8, 1)
    assert first.value == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.3])
    assert second.value == pytest.approx([0.4, 0.5, 0.5])
    assert first.entropy.tolist() == [1.0, 0.0, 0.0, 2.0, 3.0] and second.entropy.tolist() == [4.0, 0.0, 5.0]
    assert (first.num_sampled, second.num_sampled) == (3, 2)


def test_a_lesson_weighs_sampled_tokens_only_and_reads_what_was_given():
    lesson = lesson_of([(Start(problem=problem("q")), (1, *given((5,)), 4, *given((6,))), 0.5)])
    assert lesson.sequences.actions.tolist() == [1, 4] and lesson.weight.tolist() == [0.5, 0.5]
    assert lesson.sequences.given.tolist() == [5]      # nothing that is taught could see the 6


def test_lengths_and_entropies_are_of_sampled_tokens():
    rows = estimated()
    rows.rollouts.behavior_entropy.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0, 6.0]))
    metrics, signals = Exploration().observe(attempts_of(rows), Progress(
        step=0, sampled_tokens=0, token_budget=1, history=(), first=None, peak=None
    ))
    assert (metrics["rollout/length_tokens_fresh"], metrics["rollout/length_tokens_replayed"]) == (3.0, 2.0)
    assert (metrics["rollout/tokens_fresh"], metrics["rollout/entropy_nats_replayed"]) == (3.0, 5.0)
    assert signals.entropy == 2.0


# ------------------------------------------------------------------------------------------ reward, value, loss


def test_the_score_is_paid_on_the_last_action_and_the_task_sees_all_that_was_said():
    class Sum:
        score_range = (0.0, 1.0)

        def score(self, problem, response):
            seen.append(response)
            return Outcome(1.0, True)

    seen = []
    scored = TaskReward(task=Sum(), timeout_s=60.0).score(estimated().rollouts)
    assert scored.reward.tolist() == [0.0, 0.0, 1.0, 0.0, 1.0]
    assert seen == [(3, -8, -9, 4, 2), (1, -6, 4, -8, 1)]


def test_values_and_advantages_are_of_actions_and_carry_across_what_was_given():
    """gamma = lambda = 1: A = R - V(s_u); a fit of rows with given tokens moves V of the very states that acted."""
    rows = [(start(prompt=(7, 8)), (1, *given((5, 6)), 2)), (start(prompt=(9,)), (3, *given((4,)), 1, 2))]
    critic = Critic(
        policy=tiny(max_positions=64), task=Echo(), ranks=SoloRanks(), seed=0, init="policy", num_layers=0,
        **ESTIMATION | FITTING,
    )
    scored = scored_of(rows, [1.0, 0.0])
    for _ in range(3):
        found = critic.estimate(scored)
        assert len(found.value) == len(found.advantage) == 5
        returns = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0])
        torch.testing.assert_close(found.advantage, returns - found.value)
        torch.testing.assert_close(found.target_return, returns)
        critic.fit(found, Progress(step=0, sampled_tokens=0, token_budget=1, history=(), first=None, peak=None))
    behind = [start(prompt=(7, 8), prefix=(1, *given((5, 6)))), start(prompt=(9,), prefix=(3, *given((4,))))]
    success, _ = critic.success(behind)
    assert success == pytest.approx(critic.estimate(scored).success[[1, 3]].tolist(), abs=1e-5)


def test_means_of_the_loss_divide_by_sampled_tokens():
    rows = estimated()
    assert rows.sequences.lengths.tolist() == [3, 2]       # what mini-batches count num_tokens by
    for aggregation, expected in (("token_mean", [1 / 5] * 5), ("sequence_mean", [1 / 6] * 3 + [1 / 4] * 2)):
        assert token_weight(rows, aggregation, 1.0, 5, 2).tolist() == pytest.approx(expected)


def test_the_loss_of_a_policy_asks_for_actions_only():
    rows = sequences_of([(start(prompt=(7, 8)), (1, *given((5, 6)), 2))])
    asked = []

    def token_loss(logprob, entropy, index):
        asked.append(index.tolist())
        return -logprob.sum(), torch.full_like(logprob, -1.0), torch.zeros_like(entropy)

    tiny(max_positions=64).loss(rows, token_loss)
    assert asked == [[0, 1]]


def test_stored_answers_keep_what_was_given_and_one_logprob_an_action():
    memory, loaded = (Memory(capacity=4, distinct=True) for _ in range(2))
    memory.add(answers_of(estimated().scored, 3, SoloRanks()))
    loaded.load_state_dict(memory.state_dict())
    (answer,) = loaded.of("p")
    assert answer.tokens == (3, -8, -9, 4, 2) and len(answer.logprob) == len(answer.entropy) == 3
    assert loaded.of("q") == []      # began from a prefix


# ------------------------------------------------------------------------------------------ whole steps


class Overheard:
    """``task`` that refuses a response in which the environment has not had its word."""

    def __init__(self, task):
        self._task, self.scored = task, 0

    def __getattr__(self, name):
        return getattr(self._task, name)

    def score(self, problem, response):
        own = [place for place, token in enumerate(response) if token >= 0]
        assert own == list(range(0, 2 * problem.max_response, 2)), response
        self.scored += 1
        return self._task.score(problem, response)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("status")
    numbers = ["run.warm_up={batches: 1, starts: 12, admit: false}", "run.starts_per_step=16", "warm_start.steps=3"]
    numbers += [f"warm_start.cache_dir={folder}", "tracker=[]"]
    return build(composed("setting=arith_chain_status", *numbers), folder, Ranks())


def test_short_problems_train_the_value_and_only_long_ones_the_policy_and_digits_are_the_budget(house):
    seen = []
    progress = loop.warm_up(house, first_progress(house.run), lambda p: seen.append(p.sampled_tokens))
    short = [s.problem.max_response for s in house.problems.draw(12, first_progress(house.run), "warm_up.problems")]
    assert set(short) <= {1, 2, 3} and seen == [sum(short)] and len(house.replay.store) == 0
    assert progress.step == 0
    fresh = house.problems.draw(16, progress)
    assert {s.problem.max_response for s in fresh} == {12}

    lived = experience(house, fresh, progress, Clock())
    assert sum(a.num_sampled for a in lived.attempts) == 16 * 12 == len(lived.sampled.advantage)
    assert all(len(a.tokens) == 23 for a in lived.attempts)
    house.replay.observe(lived.attempts, progress)
    states = [tuple(row["tokens"]) for row in house.replay.rows()]
    assert states and all(len(s) % 2 == 0 and min(s[1::2]) < 0 <= min(s[::2]) for s in states)   # digit, status


def test_sampled_evaluation_and_its_right_prefixes_hear_the_environment(house):
    task = Overheard(house.task)
    metrics = Sampled(
        policy=house.policy, task=task, reward=TaskReward(task=task, timeout_s=60.0), seed=0, ranks=Ranks(),
        num_samples=2, k=1, max_problems=3, every_steps=1, dense_every=1, dense_until=0,
    ).now(first_progress(house.run))
    assert task.scored == 2 * (3 + 3 + 3) + 3 + 2 * 3     # three groups, greedy, capability
    assert 0.0 <= metrics["eval/capability"] <= 1.0 and math.isfinite(metrics["eval/right_prefix_logprob_nats"])
    assert np.isfinite(list(metrics.values())).all()


def test_a_policy_too_short_for_what_is_said_is_refused_at_the_door(tmp_path):
    with pytest.raises(ValueError, match=r"max_positions is 48; task 'arith_chain_status' needs 49"):
        build(composed("task=arith_chain_status", "tracker=[]", "policy.backbone.max_positions=48"), tmp_path, Ranks())
