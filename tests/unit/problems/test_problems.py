from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from rrl.problems.epoch import Epoch
from rrl.problems.stratified import Stratified
from rrl.records import Progress
from rrl.types import Problem

HALF = {"hard": 0.5, "easy": 0.5}


def task(num_hard: int, num_easy: int):
    names = [("hard", i) for i in range(num_hard)] + [("easy", i) for i in range(num_easy)]
    problems = [
        Problem(id=f"{d}-{i}", prompt=(1,), answer="", solution=(), task="fake", difficulty=d, max_response=2, stop=(),
                exact_length=True)
        for d, i in names
    ]
    return SimpleNamespace(train_problems=lambda: problems)


def at(step: int) -> Progress:
    return Progress(step=step, sampled_tokens=0, token_budget=100, history=(), first=None, peak=None)


def ids(starts):
    assert not any(s.replayed for s in starts)
    return [s.problem.id for s in starts]


def stratified(seed=0, shares=HALF, warm_up_shares=HALF, of=None):
    return Stratified(seed=seed, task=of or task(3, 50), shares=shares, warm_up_shares=warm_up_shares)


def test_stratified_gives_each_difficulty_its_share_whatever_their_numbers():
    problems = stratified()
    for step in range(20):
        hard = sum(i.startswith("hard") for i in ids(problems.draw(128, at(step))))
        assert abs(hard - 64) <= 2


def test_a_batch_of_one_is_hard_half_of_the_time():
    problems = stratified()
    hard = sum(ids(problems.draw(1, at(step)))[0].startswith("hard") for step in range(400))
    assert hard == pytest.approx(200, abs=40)


def test_stratified_is_uniform_inside_a_difficulty():
    problems = stratified(of=task(4, 4), shares={"hard": 1.0, "easy": 0.0})
    counts = Counter(i for step in range(100) for i in ids(problems.draw(40, at(step))))
    assert set(counts) == {f"hard-{i}" for i in range(4)}
    assert all(count == pytest.approx(1000, abs=120) for count in counts.values())


def test_a_shorter_draw_is_the_beginning_of_a_longer_one():
    problems = stratified()
    assert ids(problems.draw(90, at(3))) == ids(problems.draw(128, at(3)))[:90]
    assert problems.draw(0, at(3)) == []


def test_stratified_draws_depend_on_seed_stream_and_step_only():
    one, other = stratified(), stratified()
    other.draw(7, at(1))
    assert ids(one.draw(20, at(5))) == ids(other.draw(20, at(5)))
    assert ids(one.draw(20, at(5))) != ids(one.draw(20, at(6)))
    assert ids(one.draw(20, at(5))) != ids(one.draw(20, at(5), stream="other"))
    assert ids(one.draw(20, at(5))) != ids(stratified(seed=1).draw(20, at(5)))


def test_the_warm_up_stream_has_shares_of_its_own():
    problems = stratified(shares={"hard": 1.0}, warm_up_shares={"easy": 1.0})
    assert {i[:4] for i in ids(problems.draw(30, at(-2), stream="warm_up.problems"))} == {"easy"}
    assert {i[:4] for i in ids(problems.draw(30, at(2)))} == {"hard"}


def test_a_difficulty_that_the_task_lacks_is_an_error_naming_the_key():
    with pytest.raises(ValueError, match=r"problems\.shares.*'easy'.*hard"):
        stratified(of=task(3, 0))
    with pytest.raises(ValueError, match=r"problems\.warm_up_shares.*'medium'"):
        stratified(warm_up_shares={"medium": 1.0})
    with pytest.raises(ValueError, match=r"problems\.shares is .*> 0"):
        stratified(shares={"hard": 0.0})


def test_an_epoch_holds_every_problem_once_and_the_next_one_in_another_order():
    problems = Epoch(seed=0, task=task(4, 8), starts_per_step=4)
    first = [i for step in range(3) for i in ids(problems.draw(4, at(step)))]
    second = [i for step in range(3, 6) for i in ids(problems.draw(4, at(step)))]
    assert len(set(first)) == len(set(second)) == 12
    assert first != second


def test_an_epoch_ends_inside_a_step_without_losing_a_problem():
    problems = Epoch(seed=0, task=task(5, 0), starts_per_step=3)
    drawn = [i for step in range(5) for i in ids(problems.draw(3, at(step)))]
    assert [len(set(drawn[i : i + 5])) for i in (0, 5, 10)] == [5, 5, 5]


def test_rows_given_to_replay_do_not_move_the_next_step():
    problems = Epoch(seed=0, task=task(4, 8), starts_per_step=4)
    assert ids(problems.draw(2, at(0))) == ids(problems.draw(4, at(0)))[:2]
    before = ids(problems.draw(4, at(1)))
    problems.draw(1, at(0))
    assert ids(problems.draw(4, at(1))) == before


def test_epoch_draws_more_than_it_has_and_at_negative_steps():
    problems = Epoch(seed=0, task=task(3, 0), starts_per_step=4)
    assert Counter(ids(problems.draw(9, at(0)))) == {"hard-0": 3, "hard-1": 3, "hard-2": 3}
    warm = ids(problems.draw(3, at(-3), stream="warm_up.problems"))  # position -12 = 4 whole epochs before 0
    assert sorted(warm) == ["hard-0", "hard-1", "hard-2"]


def test_epoch_refuses_an_empty_task_and_a_bad_stride():
    with pytest.raises(ValueError, match="no training problems"):
        Epoch(seed=0, task=task(0, 0), starts_per_step=4)
    with pytest.raises(ValueError, match=r"problems\.starts_per_step is 0"):
        Epoch(seed=0, task=task(1, 0), starts_per_step=0)
