"""Rewards: where the score lands, what a failing scorer costs, what leaving the reference costs."""

import math
from dataclasses import replace

import pytest
import torch

from rrl.protocols import Outcome
from rrl.reward.kl_shaped import KLShaped
from rrl.reward.overlong import Overlong
from rrl.reward.task import TaskReward
from rrl.types import Start
from tests.unit.learner.tabular import TabularPolicy, problem, rollouts_of


class SumTask:
    """Scores the sum of the response; solved at 6; a response that contains 4 breaks it, 3 gives NaN."""

    score_range = (0.0, 100.0)

    def score(self, problem, response):
        if 4 in response:
            raise RuntimeError("the verifier crashed")
        return Outcome(score=math.nan if 3 in response else float(sum(response)), solved=sum(response) == 6)


BARE = Start(problem=problem("a"))
PREFIXED = Start(problem=problem("a"), prefix=(2, 2))
OTHER = Start(problem=problem("b"))


def test_the_whole_response_is_scored_on_its_last_token():
    scored = TaskReward(task=SumTask(), timeout_s=60.0).score(rollouts_of([(BARE, (1, 0, 1)), (PREFIXED, (1, 1))]))
    assert scored.reward.tolist() == [0.0, 0.0, 2.0, 0.0, 6.0]  # prefix 2 + 2 counts in the score
    assert scored.score.tolist() == [2.0, 6.0]
    assert scored.solved.tolist() == [False, True]


def test_a_row_that_cannot_be_scored_takes_its_group_with_it_and_nothing_else():
    reward = TaskReward(task=SumTask(), timeout_s=60.0)
    rows = [(BARE, (1,)), (PREFIXED, (1,)), (BARE, (0, 4)), (OTHER, (2, 2)), (BARE, (2,))]
    scored = reward.score(rollouts_of(rows))
    assert reward.dropped == 3
    assert scored.score.tolist() == [5.0, 4.0]
    assert scored.reward.tolist() == [5.0, 0.0, 4.0]
    assert scored.rollouts.sequences.start_of(1) == OTHER


def test_a_score_that_is_not_a_number_counts_as_a_failure():
    reward = TaskReward(task=SumTask(), timeout_s=60.0)
    assert reward.score(rollouts_of([(BARE, (3,)), (OTHER, (1,))])).score.tolist() == [1.0]
    assert reward.dropped == 1


def test_dropped_counts_one_call_only():
    reward = TaskReward(task=SumTask(), timeout_s=60.0)
    reward.score(rollouts_of([(BARE, (4,))]))
    reward.score(rollouts_of([(BARE, (1,))]))
    assert reward.dropped == 0


def test_all_rows_may_be_dropped():
    reward = TaskReward(task=SumTask(), timeout_s=60.0)
    assert reward.score(rollouts_of([(BARE, (4,)), (BARE, (1,))])).score.tolist() == []
    assert reward.dropped == 2


class HalfReference:
    def logprob(self, sequences):
        return torch.full((len(sequences.actions),), math.log(0.5)), torch.zeros(len(sequences.actions))


def test_each_sampled_token_pays_for_leaving_the_reference_and_the_prefix_does_not():
    rollouts = rollouts_of([(PREFIXED, (1, 1))])  # behaviour log-prob 0 at both sampled tokens
    base = TaskReward(task=SumTask(), timeout_s=60.0)
    shaped = KLShaped(base=base, reference=HalfReference(), beta=0.1).score(rollouts)
    fee = 0.1 * math.log(2.0)
    assert shaped.reward.tolist() == pytest.approx([-fee, 6.0 - fee])
    assert shaped.score.tolist() == [6.0]


def test_the_reference_itself_pays_nothing():
    policy = TabularPolicy()
    rollouts = rollouts_of([(BARE, (1, 2)), (PREFIXED, (0,))], policy)
    shaped = KLShaped(base=TaskReward(task=SumTask(), timeout_s=60.0), reference=policy, beta=1.0).score(rollouts)
    assert shaped.reward.tolist() == [0.0, 3.0, 4.0]


def test_shaping_reports_what_its_base_dropped():
    shaped = KLShaped(base=TaskReward(task=SumTask(), timeout_s=60.0), reference=HalfReference(), beta=0.1)
    assert shaped.score(rollouts_of([(BARE, (4,))])).reward.tolist() == []
    assert shaped.dropped == 1


def test_a_negative_price_is_refused():
    with pytest.raises(ValueError, match="reward.beta is -1"):
        KLShaped(base=TaskReward(task=SumTask(), timeout_s=60.0), reference=HalfReference(), beta=-1.0)


def free(max_response=10):
    """A problem whose responses may end anywhere."""
    return replace(problem("free", max_response=max_response), exact_length=False)


@pytest.mark.parametrize(("tokens", "paid"), [(1, 0.0), (8, 0.0), (9, 0.5), (10, 1.0)])
def test_a_response_pays_for_the_last_fifth_of_its_room(tokens, paid):
    # DAPO's equation 13 with L = 10 and a cache of 2: (8 - |y|) / 2.
    base = TaskReward(task=SumTask(), timeout_s=60.0)
    replayed = (Start(problem=free(), prefix=(2,)), (1,) * max(tokens - 1, 1))
    rows = rollouts_of([(Start(problem=free()), (1,) * tokens), replayed])
    plain = base.score(rows)
    scored = Overlong(base=base, cache_frac=0.2, penalty=1.0).score(rows)
    assert torch.equal(scored.score, plain.score) and torch.equal(scored.solved, plain.solved)
    found = (plain.reward - scored.reward).tolist()
    assert found[tokens - 1] == pytest.approx(paid) and not any(found[: tokens - 1])  # on the last token alone
    assert found[-1] == pytest.approx(paid)  # a replayed prefix counts as if it had been said now


def test_a_response_of_exact_length_pays_nothing_and_a_price_is_in_score_units():
    rows = rollouts_of([(BARE, (1,) * 8), (Start(problem=free(4)), (1,) * 4)])
    base = TaskReward(task=SumTask(), timeout_s=60.0)
    scored = Overlong(base=base, cache_frac=0.5, penalty=3.0).score(rows)
    assert (scored.reward - base.score(rows).reward).tolist() == [0.0] * 11 + [-3.0]


def test_overlong_counts_what_its_base_dropped_and_refuses_impossible_numbers():
    reward = Overlong(base=TaskReward(task=SumTask(), timeout_s=60.0), cache_frac=0.2, penalty=1.0)
    reward.score(rollouts_of([(BARE, (4,)), (OTHER, (1,))]))
    assert reward.dropped == 1
    assert len(reward.score(rollouts_of([(BARE, (4,))])).reward) == 0
    for numbers, words in (({"cache_frac": 0.0}, "cache_frac is 0.0"), ({"penalty": -1.0}, "penalty is -1.0")):
        with pytest.raises(ValueError, match=words):
            Overlong(base=TaskReward(task=SumTask(), timeout_s=60.0), **{"cache_frac": 0.2, "penalty": 1.0} | numbers)
