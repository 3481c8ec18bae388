"""What an environment says between sampled tokens is read and never learnt."""

import pytest
import torch

from rrl.policy import layout
from rrl.types import given, plain, sampled, sequences_of
from tests.unit.policy.families import Family
from tests.unit.policy.small import MIXED, Echo, start, tiny, tiny_hf

POLICIES = [tiny, tiny_hf]


def test_given_tokens_stand_between_the_actions_and_predict_the_next_one():
    rows = sequences_of([(start(prompt=(7, 8)), (1, *given((5, 6)), 2)), (start(prompt=(9,)), (3, *given((4,))))])
    assert (rows.actions.tolist(), rows.given.tolist()) == ([1, 2, 3], [5, 6])
    assert rows.given_offsets.tolist() == [0, 2, 2, 2]
    read = layout.action_layout(rows, pad=0)
    assert read.ids.tolist() == [[7, 8, 1, 5, 6], [9, 0, 0, 0, 0]]   # 4: nothing comes after it
    assert (read.row.tolist(), read.column.tolist()) == ([0, 0, 1], [1, 4, 0])
    assert read.lengths.tolist() == [5, 1]


def test_rows_keep_what_was_given_to_them():
    said = [(start(), (1, *given((5,)), 2)), (start(), (3,)), (start(), (4, *given((6, 7)), 8, 9))]
    rows = sequences_of(said)
    assert rows.all_tokens() == [tokens for _, tokens in said]
    assert rows.rows(torch.tensor([2, 0])).all_tokens() == [said[2][1], said[0][1]]


def test_a_row_never_begins_with_a_given_token():
    with pytest.raises(ValueError, match="begins with a given token"):
        sequences_of([(start(), (*given((5,)), 1))])


@pytest.mark.parametrize("make", POLICIES)
def test_a_policy_scores_what_it_sampled_among_given_tokens(make):
    policy = make(task=Echo(), max_positions=64)
    rollouts = policy.rollout(MIXED, samples_per_start=2, step=0)
    rows = rollouts.sequences
    assert len(rows.given) > 8
    for i, tokens in enumerate(rows.all_tokens()):
        assert len(sampled(tokens)) <= rows.start_of(i).room
        own = sampled(tokens)
        spoken = [t for action in own[:-1] if action % 2 == 0 for t in (10, action)]   # nothing after the last action
        assert [-1 - t for t in tokens if t < 0] == spoken
    logprob, entropy = policy.logprob(rows)
    torch.testing.assert_close(logprob, rollouts.behavior_logprob, rtol=0, atol=1e-5)
    torch.testing.assert_close(entropy, rollouts.behavior_entropy, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen2 with sliding layers", "mistral, all layers sliding"])
def test_a_sliding_window_reaches_as_far_back_past_the_padding_between_a_rows_tokens(family):
    said = []
    for rows_per_batch in (64, 5, 1):   # alone, a row is never padded
        policy = tiny_hf(task=Echo(), rows_per_batch=rows_per_batch, source=Family(family))
        rollouts = policy.rollout(MIXED, samples_per_start=3, step=0)
        logprob, _ = policy.logprob(rollouts.sequences)
        torch.testing.assert_close(logprob, rollouts.behavior_logprob, rtol=0, atol=1e-5)
        said.append(rollouts.sequences.all_tokens())
    assert len({len(tokens) for tokens in said[0]}) > 1 and said[0] == said[1] == said[2]


def test_both_engines_say_the_same_among_given_tokens():
    rollouts = [make(task=Echo(), max_positions=64).rollout(MIXED, samples_per_start=3, step=1) for make in POLICIES]
    ours, theirs = (r.sequences.all_tokens() for r in rollouts)
    assert ours == theirs


def test_given_tokens_change_what_comes_after_them():
    policy = tiny()
    heard, silent = (sequences_of([(start(), (1, *said, 2))]) for said in (given((5,)), ()))
    assert not torch.allclose(policy.logprob(heard)[0][1], policy.logprob(silent)[0][1])
    torch.testing.assert_close(policy.logprob(heard)[0][0], policy.logprob(silent)[0][0])


def test_a_task_that_says_more_than_it_promised_is_refused():
    task = Echo()
    task.max_given = 1
    with pytest.raises(ValueError, match="more than its max_given = 1"):
        tiny(task=task, max_positions=64).rollout(MIXED, samples_per_start=1, step=0)


def test_a_prefix_with_given_tokens_is_context_and_leaves_room_by_its_sampled_tokens():
    replayed = start(prefix=(1, *given((5, 6)), 2), max_response=3)
    assert replayed.context == (1, 2, 1, 5, 6, 2)
    assert replayed.room == 1
    assert plain(replayed.prefix) == (1, 5, 6, 2)
    with pytest.raises(ValueError, match="has 2 tokens; expected fewer than max_response = 2"):
        start(prefix=(1, *given((5, 6)), 2), max_response=2)
