"""Values from continuations: by hand on a scripted policy, and what they cost in a real run."""

import numpy as np
import pytest
import torch

from rrl import loop
from rrl.saver import first_progress
from rrl.types import Rollouts, Scored, Start, sequences_of
from rrl.value.vine_mc import VineMC
from tests.small import small_house
from tests.unit.learner.tabular import SoloRanks, problem, progress, scored_of
from tests.unit.value.test_steps import After

BARE = Start(problem=problem("a"))
CUT = Start(problem=problem("a"), prefix=(3, 0))


class Scripted:
    """A policy that continues a state with ``outcomes[prefix][i % len]``, i its own number of that state."""

    def __init__(self, outcomes):
        self.outcomes, self.calls = outcomes, []

    def rollout(self, starts, *, samples_per_start, step, stream, row_numbers):
        self.calls.append((stream, step, [s.prefix for s in starts], row_numbers.reshape(len(starts), -1)))
        said = [(s, self.outcomes[s.prefix][i]) for s in starts for i in range(samples_per_start)]
        sequences = sequences_of(said)
        blank = torch.zeros(len(sequences.actions))
        return Rollouts(sequences=sequences, behavior_logprob=blank, behavior_entropy=blank,
                        ended=torch.ones(len(said), dtype=torch.bool))


class OneIsRight:
    """Score 1 where the row's last token is 1; rows of ``broken`` prefixes are dropped."""

    def __init__(self, broken=()):
        self.broken, self.dropped = broken, 0

    def score(self, rollouts):
        kept = [i for i in range(rollouts.sequences.num_rows)
                if rollouts.sequences.start_of(i).prefix not in self.broken]
        rollouts = rollouts.rows(torch.tensor(kept, dtype=torch.int64))
        sequences = rollouts.sequences
        score = torch.tensor([float(t[-1] == 1) for t in sequences.all_tokens()])
        reward = torch.zeros(len(sequences.actions))
        reward[sequences.offsets[1:] - 1] = score
        return Scored(rollouts=rollouts, score=score, solved=score == 1.0, reward=reward)


SCRIPT = {(): [(1,), (2,), (2, 2), (2,)], (3, 0): [(1,), (4, 1), (1,), (2,)]}


def vine(policy=None, broken=(), num=4, lam=0.0):
    return VineMC(policy=policy or Scripted(SCRIPT), reward=OneIsRight(broken), ranks=SoloRanks(), cut=After(0),
                  num_continuations=num, lam=lam)


def test_a_state_is_worth_what_its_continuations_bring_and_a_step_what_it_adds():
    # V() = 1/4, V(3, 0) = 3/4; the row was solved: its steps add 1/2 and 1/4.
    value = vine()
    estimated = value.estimate(scored_of([(BARE, (3, 0, 1)), (BARE, (2,))], [1.0, 0.0]))
    assert estimated.value.tolist() == estimated.success.tolist() == [0.25, 0.25, 0.75, 0.25]
    assert estimated.advantage.tolist() == [0.5, 0.5, 0.25, -0.25]
    assert value.spent_tokens == 5 + 5
    assert [call[2] for call in value._policy.calls] == [[(), (3, 0)]]  # rows of one start ask once


def test_the_deviation_is_that_of_a_beta_with_one_try_more_each_way():
    mean, std = vine().success([CUT, BARE, CUT])
    assert mean.tolist() == [0.75, 0.25, 0.75]
    # Beta(4, 2) and Beta(2, 4): sqrt(8 / (36 * 7)).
    assert std == pytest.approx([np.sqrt(8 / 252)] * 3)


def test_a_state_that_nothing_is_known_of_gives_its_step_no_advantage():
    value = vine(broken=((3, 0),))
    estimated = value.estimate(scored_of([(BARE, (3, 0, 1))], [1.0]))
    # V(3, 0) is read as 1, what came after it, so that the second step adds 0; the first is told 1 - 1/4.
    assert estimated.advantage.tolist() == [0.75, 0.75, 0.0]
    assert [x.tolist() for x in value.success([CUT])] == [[0.5], [0.5]]
    both = vine(broken=((), (3, 0))).estimate(scored_of([(BARE, (3, 0, 1))], [1.0]))
    assert both.advantage.tolist() == [0.0, 0.0, 0.0] and both.value.tolist() == [1.0, 1.0, 1.0]


def test_noise_is_named_by_the_state_and_the_fit_alone():
    value = vine()
    value.success([BARE, CUT])
    value.success([CUT])
    value.fit(value.estimate(scored_of([(BARE, (2,))], [0.0])), progress())
    value.success([CUT])
    (_, _, _, both), (_, _, _, alone), _, later = value._policy.calls
    assert both[1].tolist() == alone[0].tolist() and len(set(both.ravel().tolist())) == 8
    assert [call[0] for call in value._policy.calls] == ["value.vine"] * 4
    assert [call[1] for call in value._policy.calls] == [0, 0, 0, 1] and later[3].tolist() == alone.tolist()


@pytest.mark.parametrize(("key", "number"), [("num_continuations", 0), ("lam", 1.5)])
def test_impossible_numbers_are_refused_by_their_key(key, number):
    with pytest.raises(ValueError, match=f"value.{key} is"):
        vine(**{{"num_continuations": "num"}.get(key, key): number})


def test_everything_sampled_to_judge_states_counts_in_the_runs_budget_except_for_evaluation(tmp_path):
    house = small_house(
        tmp_path / "run", "value=vine_mc", "value.num_continuations=2", "run.starts_per_step=8", "run.warm_up.starts=8",
        "run.warm_up.batches=1", "warm_start.steps=2", "evaluate.every_steps=1", "tracker=[]", "task.num_hard=4",
        "task.num_easy=4", "replay/schedule=constant", "replay.rescore_every=1", "run.token_budget=1500",
    )
    counted, evaluating = [0], [False]
    inner, when_due = house.policy.rollout, house.evaluate.when_due
    streams = set()

    def rollout(starts, **how):
        rollouts = inner(starts, **how)
        if not evaluating[0]:
            counted[0] += len(rollouts.sequences.actions)
            streams.add(how.get("stream", "rollout"))
        return rollouts

    def evaluate(progress):
        evaluating[0] = True
        metrics = when_due(progress)
        evaluating[0] = False
        return metrics

    house.policy.rollout, house.evaluate.when_due = rollout, evaluate
    seen = []
    after = lambda p: seen.append((p.sampled_tokens, counted[0]))  # noqa: E731
    end = loop.train(house, loop.warm_up(house, first_progress(house.run), after), after)
    assert len(seen) >= 3 and streams == {"rollout", "value.vine"}
    assert all(told == true for told, true in seen)
    assert end.finished
    assert house.value.spent_tokens > counted[0] / 2  # most of the budget, and evaluation on top
