"""Contexts once, continuations behind them: which token stands where, and what it may see."""

import pytest
import torch

from rrl.policy.layout import action_layout
from rrl.policy.prefix.groups import groups_of, shared, tree_of
from rrl.types import given, sequences_of
from tests.unit.policy.families import ROWS
from tests.unit.policy.small import start

PAIR = start(prompt=(7, 8))
ROWS_OF_THREE = sequences_of([(PAIR, (1, 2)), (PAIR, (3,)), (start(prompt=(9,)), (4, 5))])


def test_rows_of_one_context_are_one_group_and_their_last_action_is_never_read():
    groups = groups_of(ROWS_OF_THREE, pad=0)
    assert groups.contexts.tolist() == [[7, 8], [9, 0]] and groups.context_lengths.tolist() == [2, 1]
    assert groups.continuations.tolist() == [[1], [0], [4]] and groups.lengths.tolist() == [1, 0, 1]
    assert groups.group.tolist() == [0, 0, 1]
    assert (groups.row.tolist(), groups.depth.tolist()) == ([0, 0, 1, 2, 2], [0, 1, 0, 0, 1])
    # States of [[7, 8], [9, -]], then of [[1], [-], [4]]: 8 predicts 1 and 3, 1 predicts 2, 9 predicts 4, 4 predicts 5.
    assert groups.index().tolist() == [1, 4, 1, 2, 6]


def test_a_replayed_prefix_is_context_like_a_prompt():
    rows = sequences_of([(start(prompt=(7,), prefix=(8,)), (1, 2)), (start(prompt=(7, 8)), (3,))])
    assert shared(rows) and groups_of(rows, pad=0).contexts.tolist() == [[7, 8]]
    assert not shared(sequences_of([(PAIR, (1, 2)), (start(prompt=(9,)), (3,))]))


def test_given_tokens_are_read_in_the_continuation_and_are_no_actions():
    groups = groups_of(sequences_of([(PAIR, (1, *given((5, 6)), 2)), (PAIR, (3,))]), pad=0)
    assert groups.continuations.tolist() == [[1, 5, 6], [0, 0, 0]]
    assert (groups.row.tolist(), groups.depth.tolist()) == ([0, 0, 1], [0, 3, 0])


def test_a_tree_restarts_the_positions_of_each_continuation_behind_its_context():
    tree = tree_of(groups_of(ROWS_OF_THREE, pad=0), one_row=False)
    assert tree.ids.tolist() == [[7, 8, 1], [9, 4, 0]]
    assert tree.positions.tolist() == [[0, 1, 2], [0, 1, 0]]
    assert tree.branch.tolist() == [[0, 0, 1], [0, 3, -1]]
    assert tree.index.tolist() == [1, 2, 1, 3, 4]


def test_all_groups_fit_in_one_row_of_whole_blocks():
    tree = tree_of(groups_of(ROWS_OF_THREE, pad=0), one_row=True, multiple_of=4)
    assert tree.ids.tolist() == [[7, 8, 1, 9, 4, 0, 0, 0]]
    assert tree.positions.tolist() == [[0, 1, 2, 0, 1, 0, 0, 0]]
    assert tree.root.tolist() == [[0, 0, 0, 1, 1, -1, -1, -1]]
    assert tree.index.tolist() == [1, 2, 1, 3, 4]


def test_a_token_sees_its_past_and_nothing_of_other_continuations():
    rows = sequences_of([(PAIR, (1, 2, 6)), (PAIR, (3, 6))])
    tree = tree_of(groups_of(rows, pad=0), one_row=False)   # 7 8 1 2 3
    assert tree.visible(None)[0].int().tolist() == [
        [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1],
    ]  # fmt: skip
    # Of two tokens, itself included: 2 (position 3) no longer sees 8 (1), 3 (position 2) does.
    assert tree.visible(2)[0].int().tolist() == [
        [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 1, 0, 0, 1],
    ]  # fmt: skip


def test_groups_in_one_row_do_not_see_each_other():
    seen = tree_of(groups_of(ROWS_OF_THREE, pad=0), one_row=True).visible(None)[0]
    assert not seen[3:, :3].any() and not seen[:3, 3:].any()


@pytest.mark.parametrize("one_row", [True, False])
@pytest.mark.parametrize("name", ROWS)
def test_every_wanted_state_has_read_the_whole_row_up_to_its_action(name, one_row):
    rows = ROWS[name]
    tree = tree_of(groups_of(rows, pad=0), one_row=one_row)
    whole = action_layout(rows, pad=0)
    width, seen = tree.ids.shape[1], tree.visible(None)
    for a, index in enumerate(tree.index.tolist()):
        r, q = divmod(index, width)
        read = tree.ids[r][seen[r, q]].tolist()   # in the order of their columns, which is that of their positions
        assert read == whole.ids[whole.row[a], : whole.column[a] + 1].tolist()
        assert tree.positions[r][seen[r, q]].tolist() == list(range(len(read)))


def test_groups_of_padded_pieces_name_the_same_tokens():
    for rows in ROWS.values():
        groups, whole = groups_of(rows, pad=0), action_layout(rows, pad=0)
        flat = torch.cat([groups.contexts.flatten(), groups.continuations.flatten()])
        assert flat[groups.index()].tolist() == whole.ids[whole.row, whole.column].tolist()
