"""Dynamic sampling: groups of equal scores are found over all ranks and left out of the policy's loss."""

from rrl.resample import chosen_starts, resampling_metrics, rows_learned_from, telling_groups
from rrl.types import Start
from tests.unit.learner.tabular import SoloRanks, ThreadRanks, problem, scored_of

A, B, C = (Start(problem=problem(name)) for name in "abc")
REPLAYED = Start(problem=problem("a"), prefix=(1,))


def step():
    """a: 0 and 1; b: both 1; c: both 0; a behind a prefix: both 1."""
    rows = [(A, (1,)), (A, (2,)), (B, (1,)), (B, (2,)), (C, (1,)), (C, (2,)), (REPLAYED, (1,)), (REPLAYED, (2,))]
    return scored_of(rows, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])


def test_a_group_tells_something_where_its_scores_differ():
    assert telling_groups(step(), SoloRanks()) == {A.group}


def test_a_group_that_is_split_over_ranks_is_judged_whole():
    parts = [scored_of([(A, (1,)), (B, (1,))], [0.0, 1.0]), scored_of([(A, (2,)), (B, (2,))], [1.0, 1.0])]
    one, two = ThreadRanks.together([
        lambda ranks: telling_groups(parts[0], ranks), lambda ranks: telling_groups(parts[1], ranks)
    ])
    assert one == two == {A.group}


def test_the_first_telling_fresh_starts_are_chosen_in_the_order_of_drawing():
    telling = {A.group, C.group, REPLAYED.group}
    assert chosen_starts([C, REPLAYED, B, A], telling, 2) == [C, A]
    assert chosen_starts([C, REPLAYED, B, A], telling, 1) == [C]


def test_the_policy_learns_from_chosen_groups_and_all_replayed_rows():
    assert rows_learned_from(step(), [A]).tolist() == [0, 1, 6, 7]


def test_where_no_group_tells_anything_all_rows_stay():
    assert rows_learned_from(step(), []).tolist() == list(range(8))


def test_the_share_of_constant_groups_is_that_of_fresh_ones():
    assert resampling_metrics([A, B, C, REPLAYED], {A.group}, 3) == {
        "rollout/rounds": 3.0, "rollout/constant_frac": 2 / 3,
    }  # fmt: skip
