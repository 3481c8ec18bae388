"""The nouns refuse bad data by field, and cut whole rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rrl.types import Problem, Sequences, Start, concat_sequences, prefix_key, rows_to_actions, sequences_of
from tests.unit.learner.tabular import estimated_of, problem

P, Q = problem("p"), problem("q")
ROWS = sequences_of([(Start(problem=P), (1, 2)), (Start(problem=Q, prefix=(4,)), (3,)), (Start(problem=P), (2, 2, 1))])


def test_a_problem_needs_a_prompt_and_room() -> None:
    with pytest.raises(ValueError, match="Problem.prompt of 'p' is empty"):
        replace(P, prompt=())
    with pytest.raises(ValueError, match="Problem.max_response of 'p' is 0; expected >= 1"):
        replace(P, max_response=0)


def test_a_prefix_leaves_room_for_one_token_at_least() -> None:
    short: Problem = replace(P, max_response=3)
    assert Start(problem=short, prefix=(1, 2)).context == (*P.prompt, 1, 2)
    with pytest.raises(ValueError, match="Start.prefix of 'p' has 3 tokens; expected fewer than max_response = 3"):
        Start(problem=short, prefix=(1, 2, 3))


def test_a_key_names_problem_and_tokens() -> None:
    keys = {
        prefix_key("p", (1, 2)),
        prefix_key("p", (2, 1)),
        prefix_key("q", (1, 2)),
        prefix_key("p", (1,)),
        prefix_key("p", ()),
    }
    assert len(keys) == 5 and all(len(k) == 16 for k in keys)
    assert prefix_key("p", (1, 2)) == "54bf7aa6c032e2bf"  # stores are saved by key


def test_sequences_refuse_offsets_that_do_not_fit() -> None:
    good = {
        "starts": (Start(problem=P),), "start_index": torch.tensor([0, 0]), "actions": torch.tensor([1, 2, 3]),
        "given": torch.zeros(0, dtype=torch.int64), "given_offsets": torch.zeros(4, dtype=torch.int64),
    }
    assert Sequences(offsets=torch.tensor([0, 1, 3]), **good).lengths.tolist() == [1, 2]
    for offsets, said in (
        ([0, 3], r"must be \[N \+ 1\] and begin with 0"),
        ([1, 2, 3], "begin with 0"),
        ([0, 0, 3], "every row needs at least one action"),
        ([0, 1, 2], "has 3 tokens; offsets end at 2"),
    ):
        with pytest.raises(ValueError, match=said):
            Sequences(offsets=torch.tensor(offsets), **good)


def test_positions_of_whole_rows() -> None:
    assert rows_to_actions(torch.tensor([0, 2, 3]), torch.tensor([1, 0])).tolist() == [2, 0, 1]
    assert rows_to_actions(torch.tensor([0, 2, 3]), torch.tensor([], dtype=torch.int64)).tolist() == []


def test_rows_are_cut_whole_and_unused_starts_are_dropped() -> None:
    cut = ROWS.rows(torch.tensor([2, 1]))
    assert [cut.tokens_of(i) for i in range(2)] == [(2, 2, 1), (3,)]
    assert [cut.start_of(i).problem.id for i in range(2)] == ["p", "q"] and len(cut.starts) == 2
    assert cut.row_of.tolist() == [0, 0, 0, 1]


def test_joined_parts_keep_rows_and_starts_together() -> None:
    joined = concat_sequences([ROWS.rows(torch.tensor([1])), ROWS])
    assert [joined.tokens_of(i) for i in range(4)] == [(3,), (1, 2), (3,), (2, 2, 1)]
    assert [joined.start_of(i).problem.id for i in range(4)] == ["q", "p", "q", "p"]
    assert joined.start_of(2).prefix == (4,)


def test_every_stage_cuts_its_columns_with_its_rows() -> None:
    rows = [(Start(problem=P), (1, 2)), (Start(problem=Q, prefix=(4,)), (3,))]
    whole = estimated_of(
        rows, advantage=[1.0, 2.0, 3.0], scores=[0.0, 1.0], value=[4.0, 5.0, 6.0], success=[0.1, 0.2, 0.3]
    )
    cut = whole.rows(torch.tensor([1]))
    assert (cut.advantage.tolist(), cut.value.tolist(), cut.scored.score.tolist()) == ([3.0], [6.0], [1.0])
    assert cut.sequences.tokens_of(0) == (3,) and cut.scored.reward.tolist() == whole.scored.reward[2:].tolist()
    assert torch.equal(cut.rollouts.behavior_logprob, whole.rollouts.behavior_logprob[2:])
