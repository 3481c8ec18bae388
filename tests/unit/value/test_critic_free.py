"""group_norm, leave_one_out, batch_whiten and tabular_posterior: advantages by hand, also over ranks."""

from types import SimpleNamespace

import pytest
import torch

from rrl.types import Start
from rrl.value.batch_whiten import BatchWhiten
from rrl.value.group_mean import GroupMean
from rrl.value.group_norm import GroupNorm
from rrl.value.leave_one_out import LeaveOneOut
from rrl.value.tabular_posterior import TabularPosterior
from tests.unit.learner.tabular import SoloRanks, ThreadRanks, problem, progress, scored_of

BARE = Start(problem=problem("a"))
OTHER = Start(problem=problem("b"))
GOOD = Start(problem=problem("a"), prefix=(1,))
COUNTS = {"kappa": 2.0, "decay": 1.0}
TASK = SimpleNamespace(score_range=(0.0, 1.0))

MAKE = {
    "group_norm": lambda ranks: GroupNorm(ranks=ranks, eps=1e-4, **COUNTS),
    "leave_one_out": lambda ranks: LeaveOneOut(ranks=ranks, **COUNTS),
    "batch_whiten": lambda ranks: BatchWhiten(ranks=ranks, **COUNTS),
    "tabular_posterior": lambda ranks: TabularPosterior(ranks=ranks, task=TASK, **COUNTS),
}
every = pytest.mark.parametrize("name", MAKE)


def advantage(name, rows, scores, ranks=None):
    return MAKE[name](ranks or SoloRanks()).estimate(scored_of(rows, scores)).advantage.tolist()


def test_group_norm_divides_by_the_samples_standard_deviation():
    # Mean .25; variance (.5625 + 3 * .0625) / 3 = .25, so std .5.
    rows = [(BARE, (1, 2)), (BARE, (1,)), (BARE, (2,)), (BARE, (3,))]
    expected = [0.75 / 0.5001, 0.75 / 0.5001] + [-0.25 / 0.5001] * 3
    assert advantage("group_norm", rows, [1.0, 0.0, 0.0, 0.0]) == pytest.approx(expected)


def test_leave_one_outs_baseline_is_the_others_mean():
    rows = [(BARE, (1, 2)), (BARE, (1,)), (BARE, (2,)), (OTHER, (1,))]
    # Others of the first: (0 + .5) / 2; of the second: (1 + .5) / 2; of the third: (1 + 0) / 2; the last is alone.
    assert advantage("leave_one_out", rows, [1.0, 0.0, 0.5, 1.0]) == [0.75, 0.75, -0.75, 0.0, 0.0]


def test_leave_one_out_is_n_over_n_minus_one_times_group_mean():
    scored = scored_of([(BARE, (1,))] * 4, [1.0, 0.0, 0.0, 0.5])
    mean = GroupMean(ranks=SoloRanks(), **COUNTS).estimate(scored).advantage
    torch.testing.assert_close(MAKE["leave_one_out"](SoloRanks()).estimate(scored).advantage, 4 / 3 * mean)


def test_batch_whiten_uses_all_problems_and_keeps_streams_apart():
    rows = [(BARE, (1,)), (OTHER, (1,)), (GOOD, (1,)), (GOOD, (2,)), (GOOD, (3,)), (GOOD, (4,))]
    # Fresh: 1, 0 have mean .5, std .5.  Replayed: 1, 1, 1, 0 have mean .75, std sqrt(3)/4: 1/sqrt(3), -sqrt(3).
    expected = [1.0, -1.0] + [3**-0.5] * 3 + [-(3**0.5)]
    assert advantage("batch_whiten", rows, [1.0, 0.0, 1.0, 1.0, 1.0, 0.0]) == pytest.approx(expected, abs=1e-6)
    value = MAKE["batch_whiten"](SoloRanks()).estimate(scored_of(rows, [1.0, 0.0, 1.0, 1.0, 1.0, 0.0])).value
    assert value.tolist() == [0.5, 0.5, 0.75, 0.75, 0.75, 0.75]


def test_batch_whiten_counts_tokens_not_rows():
    # Returns-to-go 1, 1, 1, 0: a row of three tokens weighs three times.
    expected = [3**-0.5] * 3 + [-(3**0.5)]
    assert advantage("batch_whiten", [(BARE, (1, 2, 3)), (BARE, (1,))], [1.0, 0.0]) == pytest.approx(expected, abs=1e-6)


def test_the_tables_baseline_is_the_posterior_of_earlier_tries():
    value = MAKE["tabular_posterior"](SoloRanks())
    scored = scored_of([(BARE, (1,))] * 4, [1.0, 0.0, 0.0, 0.0])
    assert value.estimate(scored).advantage.tolist() == [0.5, -0.5, -0.5, -0.5]  # nothing known: a half
    value.fit(value.estimate(scored), progress())
    run = (1 + 2 * 0.5) / (4 + 2)
    bare = (1 + 2 * run) / (4 + 2)  # 5/18; a prefix of it without tries is believed the same
    other = (0 + 2 * run) / (0 + 2)
    after = value.estimate(scored_of([(BARE, (1, 2)), (OTHER, (1,)), (GOOD, (1,))], [1.0, 0.0, 1.0]))
    assert after.advantage.tolist() == pytest.approx([1 - bare, 1 - bare, -other, 1 - bare])
    assert after.value.tolist() == after.success.tolist()


def test_the_tables_baseline_is_in_units_of_the_score():
    value = TabularPosterior(ranks=SoloRanks(), task=SimpleNamespace(score_range=(-1.0, 3.0)), **COUNTS)
    estimated = value.estimate(scored_of([(BARE, (1,)), (BARE, (1,))], [3.0, -1.0]))
    assert estimated.value.tolist() == [1.0, 1.0] and estimated.advantage.tolist() == [2.0, -2.0]
    assert estimated.success.tolist() == [0.5, 0.5]


@every
@pytest.mark.parametrize("score", [0.1, 1.0, -0.3])
def test_equal_rewards_give_exactly_zero(name, score):
    rows = [(BARE, (1, 2)), (BARE, (3,)), (BARE, (4, 4, 4)), (GOOD, (1,)), (GOOD, (1, 2))]
    assert advantage(name, rows, [score] * 5) == [0.0] * 9


@every
def test_a_group_of_one_is_finite_and_no_rows_are_no_trouble(name):
    assert advantage(name, [(BARE, (1, 2))], [1.0]) == [0.0, 0.0]
    none = scored_of([(BARE, (1,))], [1.0]).rows(torch.zeros(0, dtype=torch.int64))
    assert MAKE[name](SoloRanks()).estimate(none).advantage.tolist() == []


@pytest.mark.parametrize("name", ["group_norm", "leave_one_out"])
def test_a_group_of_one_gets_nothing_however_its_reward_is_spread(name):
    scored = scored_of([(BARE, (1, 2))], [1.0])
    scored.reward[0] = -0.3  # a price on the first token: returns-to-go .7, 1
    assert MAKE[name](SoloRanks()).estimate(scored).advantage.tolist() == [0.0, 0.0]


@every
def test_rows_split_over_ranks_are_estimated_and_counted_as_one(name):
    rows = [(BARE, (1,)), (BARE, (1, 2)), (OTHER, (1,)), (OTHER, (2,)), (GOOD, (1,)), (GOOD, (2, 2))]
    scores = [1.0, 0.0, 0.5, 0.25, 1.0, 0.0]
    solo = MAKE[name](SoloRanks())
    estimated = solo.estimate(scored_of(rows, scores))
    solo.fit(estimated, progress())

    def work(part):
        def on(ranks):
            value = MAKE[name](ranks)
            mine = value.estimate(scored_of(rows[part], scores[part]))
            value.fit(mine, progress())
            return mine.advantage.tolist(), value.success([BARE, OTHER, GOOD])[0].tolist()

        return on

    left, right = ThreadRanks.together([work(slice(0, 1)), work(slice(1, 6))])
    assert left[0] + right[0] == pytest.approx(estimated.advantage.tolist(), abs=1e-7)
    assert any(left[0] + right[0])
    assert left[1] == right[1] == solo.success([BARE, OTHER, GOOD])[0].tolist()


@every
def test_what_is_believed_survives_a_save(name):
    value, other = MAKE[name](SoloRanks()), MAKE[name](SoloRanks())
    value.fit(value.estimate(scored_of([(BARE, (1,)), (GOOD, (2,))], [1.0, 0.0])), progress())
    other.load_state_dict(value.state_dict())
    assert other.success([BARE, GOOD])[0].tolist() == value.success([BARE, GOOD])[0].tolist() != [0.5, 0.5]


def test_impossible_numbers_are_refused_by_their_key():
    with pytest.raises(ValueError, match=r"value.eps is 0.0; expected > 0"):
        GroupNorm(ranks=SoloRanks(), eps=0.0, **COUNTS)
    with pytest.raises(ValueError, match=r"value.kappa is 0.0"):
        LeaveOneOut(ranks=SoloRanks(), kappa=0.0, decay=1.0)


def test_counts_forget_the_start_that_was_longest_unseen_and_stay_as_large_as_they_are(monkeypatch):
    monkeypatch.setattr("rrl.value.counts._MOST_KEYS", 4)
    value = MAKE["group_norm"](SoloRanks())
    deep = [Start(problem=problem("a"), prefix=(1, i)) for i in range(4)]
    for start in (deep[0], deep[1], deep[0], deep[2], deep[3]):
        rows = [(BARE, (1,)), (start, (2,))]
        value.fit(value.estimate(scored_of(rows, [0.0, 1.0])), progress(1))
    # The second one went for the third, the first, which had been seen again, for the fourth.
    assert value.state_dict()["keys"] == [deep[2].key, *sorted([BARE.key, deep[3].key]), "run"]
